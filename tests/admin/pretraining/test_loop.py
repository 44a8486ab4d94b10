"""A pretraining learns, can be taken up anywhere, and does the same in pieces as in one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from chatbot.admin.pretraining.config import PretrainingConfig
from chatbot.admin.pretraining.heldout import score
from chatbot.admin.pretraining.network import NextToken, make_model
from chatbot.admin.training.checkpoints import find_checkpoint
from chatbot.admin.training.events import Event, HeldOut, Step, Stopped, read_events
from chatbot.admin.training.stopping import StopRequest
from chatbot.errors import LearningError, RunDamaged
from tests.admin.pretraining.texts import WORDS, make_config, make_loop, make_stream


def run(config: PretrainingConfig, folder: Path, **options: Any) -> Any:
    folder.mkdir(exist_ok=True)
    loop = make_loop(config, folder, **options)
    assert loop.run(None, checkpoint_every=5) == "finished"
    return loop


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Step)]


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_it_learns_what_the_text_is_made_of(optimizer: str, tmp_path: Path) -> None:
    config = make_config(tokens=150 * 64, optimizer=optimizer)
    loop = run(config, tmp_path)
    assert loop.looks[0][1].loss == pytest.approx(math.log(WORDS), abs=0.3)
    assert loop.looks[-1][1].loss < 1.6
    events = list(read_events(tmp_path))
    shown = [event for event in events if isinstance(event, HeldOut)]
    assert shown[-1].bits_per_byte == pytest.approx(loop.looks[-1][1].bits_per_byte)
    assert len(losses(events)) == 150


def test_a_pass_in_pieces_makes_the_same_step(tmp_path: Path) -> None:
    whole = run(make_config(), tmp_path / "whole")
    pieces = run(make_config(pass_rows=1), tmp_path / "pieces")
    for first, second in zip(whole.model.parameters(), pieces.model.parameters(), strict=True):
        assert torch.allclose(first, second, atol=2e-5)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_run_that_is_taken_up_ends_with_the_same_bits(optimizer: str, tmp_path: Path) -> None:
    config = make_config(optimizer=optimizer)
    whole = run(config, tmp_path / "whole")
    folder = tmp_path / "stopped"
    folder.mkdir()
    stop = StopRequest(folder)

    def stop_at_seven(event: Event) -> None:
        if isinstance(event, Step) and event.step == 7:
            stop.ask()

    assert make_loop(config, folder, stop_at_seven, stop).run(None, checkpoint_every=5) == "stopped"
    checkpoint = find_checkpoint(folder)
    assert checkpoint is not None
    assert checkpoint.step == 7
    second = make_loop(config, folder)
    assert second.run(checkpoint, checkpoint_every=5) == "finished"
    for first, other in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(first, other)
    events = list(read_events(folder))
    assert losses(events) == losses(list(read_events(tmp_path / "whole")))
    assert [event for event in events if isinstance(event, Stopped)]
    assert [one.loss for _, one in second.looks] == [one.loss for _, one in whole.looks]


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    run(make_config(), tmp_path)
    other = make_loop(make_config(optimizer="adamw"), tmp_path)
    with pytest.raises(RunDamaged, match="of another model"):
        other.run(find_checkpoint(tmp_path), checkpoint_every=5)


def test_a_training_that_goes_astray_is_told(tmp_path: Path) -> None:
    with pytest.raises(LearningError, match="no number at step"):
        run(make_config(learning_rate=1e5, matrix_rate=1e5, clip=0, tokens=60 * 64), tmp_path)


def test_a_look_at_a_model_that_went_astray_is_told(tmp_path: Path) -> None:
    loop = make_loop(make_config(), tmp_path)
    with torch.no_grad():
        next(loop.model.parameters()).fill_(float("nan"))
    with pytest.raises(LearningError, match="held-out loss is no number at step 0"):
        loop.run(None, checkpoint_every=5)
    assert not list(read_events(tmp_path))


def test_a_sample_of_a_model_that_went_astray_is_empty(tmp_path: Path) -> None:
    from chatbot.admin.pretraining.samples import Sampler

    class Template:
        stop_ids: frozenset[int] = frozenset()

        def decode(self, ids: list[int]) -> str:
            return " ".join(map(str, ids))

    model = make_model(make_config(), WORDS, 0)
    sampler = Sampler(Template(), make_stream(100), 0)  # type: ignore[arg-type]
    assert sampler(model, 1)[1]
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    assert sampler(model, 1)[1] == ""


def test_processes_that_cannot_share_a_step_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(LearningError, match="4 windows a step cannot be shared by 3 processes") as refused:
        make_loop(make_config(), tmp_path).run(None, checkpoint_every=5)
    assert "divides 4" in str(refused.value.hint)


def test_a_disk_that_is_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chatbot.admin.pretraining import loop

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop, "write_checkpoint", refuse)
    with pytest.raises(LearningError, match=r"The checkpoint of step 5 cannot be written .*No space left"):
        run(make_config(), tmp_path)


def test_the_loss_is_that_of_the_models_own_logits() -> None:
    """With the bias, the scale and the soft bound that some output layers have."""
    from transformers import CohereConfig, CohereForCausalLM, Gemma2Config, Gemma2ForCausalLM, PhiConfig, PhiForCausalLM

    shape = {
        "vocab_size": WORDS, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": None,
    }  # fmt: skip
    windows = torch.from_numpy(make_stream(68).ids.reshape(4, 17))
    models = [
        CohereForCausalLM(CohereConfig(**shape, logit_scale=0.3)),
        Gemma2ForCausalLM(Gemma2Config(**shape, head_dim=16, final_logit_softcapping=0.5)),
        PhiForCausalLM(PhiConfig(**shape)),
    ]
    for model in models:
        head = model.get_output_embeddings()
        with torch.no_grad():
            head.weight.mul_(20)
            if head.bias is not None:
                head.bias.normal_()
        loss = NextToken(model)(windows)
        logits = model(input_ids=windows[:, :-1]).logits.float().flatten(0, 1)
        expected = torch.nn.functional.cross_entropy(logits, windows[:, 1:].flatten(), reduction="sum")
        assert loss.item() == pytest.approx(expected.item(), rel=1e-4), type(model).__name__
    assert models[2].get_output_embeddings().bias is not None


def test_nothing_is_dropped_at_random(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=WORDS, n_embd=32, n_layer=1, n_head=2, n_positions=32, resid_pdrop=0.5)
    model = GPT2LMHeadModel(config).train()
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        loop = make_loop(make_config(optimizer="adamw", learning_rate=0.0), tmp_path)
        loop.model = model
        loop.run(None, checkpoint_every=100)
        found.append(losses(list(read_events(tmp_path)))[-12:])
    assert found[0] == found[1]


def test_the_held_out_score_is_that_of_every_token(tmp_path: Path) -> None:
    model = make_model(make_config(), WORDS, 0)
    stream = make_stream(101)
    found = score(NextToken(model), stream, 250, length=16)
    nats = 0.0
    with torch.no_grad():
        for start in range(0, 100, 16):
            ids = torch.from_numpy(stream.window(start, min(17, 101 - start)))
            logits = model(input_ids=ids[None, :-1]).logits[0]
            nats += float(torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum"))
    assert found.tokens == 100
    assert found.nats == pytest.approx(nats, rel=1e-5)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / 250, rel=1e-5)
    half = score(NextToken(model), stream, 250, length=16, limit=50)
    assert (half.tokens, half.text_bytes) == (50, 125)


def test_logits_in_blocks_have_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    from chatbot.admin.pretraining import network

    def gradient() -> torch.Tensor:
        model = make_model(make_config(), WORDS, 0)
        windows = torch.from_numpy(make_stream(68).ids.reshape(4, 17))
        NextToken(model)(windows).backward()
        return torch.cat([weight.grad.flatten() for weight in model.parameters()])

    whole = gradient()
    monkeypatch.setattr(network, "_BLOCK", 3 * WORDS)
    assert torch.allclose(whole, gradient(), rtol=1e-4, atol=1e-5)


def test_the_rate_rises_and_falls() -> None:
    config = make_config(tokens=100 * 64, warmup=0.1)
    shares = [config.scale_rate(step) for step in range(config.steps)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[9] == pytest.approx(1.0)
    assert shares[-1] < 0.01
    assert shares[10:] == sorted(shares[10:], reverse=True)
