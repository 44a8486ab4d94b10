"""The torch engine against plain transformers, and what a conversation may expect of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatbot.engine.protocol import Finished, GenerationRequest, Piece, Sampling, TokenLogprob
from chatbot.engine.torch_engine import TorchEngine
from chatbot.errors import EngineError, ModelDamaged, ModelError, ModelNotFound, RequestRefused
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.models.template import ChatMessage, ChatTemplate

QUESTIONS = ("Why is the sky blue?", "天空为什么是蓝色的？", "Tell me a story about light 😀, please. " * 5)


def ask(text: str, model: str = "llama", *, before: tuple[ChatMessage, ...] = (), **sampling: Any) -> GenerationRequest:
    sampling = {"temperature": 0.0, "max_tokens": 24, **sampling}
    return GenerationRequest(model, (*before, ChatMessage("user", text)), Sampling(**sampling))


async def read(engine: TorchEngine, request: GenerationRequest) -> tuple[str, Finished]:
    text = ""
    async for item in engine.stream(request):
        if isinstance(item, Finished):
            return text, item
        text += item.text
    raise AssertionError("no Finished")


def generate_plainly(folder: Path, prompt: list[int], tokens: int) -> list[int]:
    """What transformers itself answers, greedily."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=tokens,
        temperature=None,
        top_p=None,
        top_k=None,
    )
    return [int(token) for token in out[0, len(prompt) :]]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2", "mistral"])
async def test_greedy_text_is_that_of_transformers(
    kind: str, tiny_models: Path, start_engine: Callable[..., TorchEngine]
) -> None:
    engine = start_engine()
    template = ChatTemplate.load(tiny_models / kind)
    compared = 0
    for question in QUESTIONS:
        request = ask(question, kind, max_tokens=48, top_logprobs=0)
        tokens = []
        async for item in engine.stream(request):
            if isinstance(item, Piece):
                tokens += [entry.token for entry in item.logprobs]
        expected = generate_plainly(tiny_models / kind, template.encode(request.messages), 48)
        shown = [template.tokenizer.decode([token]) for token in expected if token not in template.stop_ids]
        assert tokens == shown
        compared += len(tokens)
    assert compared > 40


async def test_a_second_turn_reads_only_what_is_new(start_engine: Callable[..., TorchEngine]) -> None:
    cached, plain = start_engine(), start_engine(cached_conversations=0)
    history: tuple[ChatMessage, ...] = ()
    before = 0
    for question in QUESTIONS:
        request = ask(question, before=history)
        text, finished = await read(cached, request)
        assert (text, 0) == ((other := await read(plain, request))[0], other[1].cached_tokens)
        # At least the whole prompt of the turn before, save the line that opens the reply; and its text if it is
        # split into the same tokens again.
        assert finished.cached_tokens >= before
        before = finished.prompt_tokens
        history = (*request.messages, ChatMessage("assistant", text))
    assert before > 100


async def test_the_same_beginning_at_once_does_not_mix(start_engine: Callable[..., TorchEngine]) -> None:
    engine, plain = start_engine(), start_engine(cached_conversations=0)
    await read(engine, ask("The sky is blue. " * 10))
    requests = [ask("The sky is blue. " * 10 + ending) for ending in ("Why?", "How?", "天空", "Since when?")]
    together = await asyncio.gather(*(read(engine, request) for request in requests))
    for request, (text, _) in zip(requests, together, strict=True):
        alone, _ = await read(plain, request)
        assert text == alone
    assert sum(finished.cached_tokens > 0 for _, finished in together) == 4


async def test_the_same_seed_gives_the_same_text_whatever_else_runs(start_engine: Callable[..., TorchEngine]) -> None:
    engine = start_engine()
    request = ask("Tell me more.", temperature=1.0, top_p=0.95, seed=42)
    alone, _ = await read(engine, request)
    others = [ask(f"Story {number}", temperature=1.2, seed=number) for number in range(4)]
    together = await asyncio.gather(read(engine, request), *(read(engine, other) for other in others))
    assert together[0][0] == alone
    assert len({text for text, _ in together}) > 3


async def test_a_window_that_is_full_ends_the_reply(start_engine: Callable[..., TorchEngine]) -> None:
    engine = start_engine(context=64)
    _, finished = await read(engine, ask("Why?", max_tokens=None))
    assert finished.reason == "length"
    assert finished.prompt_tokens + finished.completion_tokens == 64
    with pytest.raises(RequestRefused) as refusal:
        await read(engine, ask("Why is the sky blue? " * 20))
    assert refusal.value.code == "context_length_exceeded"


@pytest.mark.parametrize("question", ["Hello " * 60, "Hi"])
async def test_leaving_stops_the_computation(question: str, start_engine: Callable[..., TorchEngine]) -> None:
    engine = start_engine()
    stream = engine.stream(ask(question, max_tokens=400, stop=("never said",)))
    await anext(stream)
    await stream.aclose()
    await settle(engine)
    done = engine.steps_done
    await asyncio.sleep(0.1)  # the absence of steps needs a moment to look at
    assert engine.steps_done == done


async def settle(engine: TorchEngine) -> None:
    """Waits until the step that ran is over; the law allows 200 ms."""
    end = time.monotonic() + 0.2
    seen = -1
    while engine.steps_done != seen:
        assert time.monotonic() < end, "steps went on"
        seen = engine.steps_done
        await asyncio.sleep(0.02)


async def test_a_short_reply_does_not_wait_for_a_long_one(start_engine: Callable[..., TorchEngine]) -> None:
    engine = start_engine()
    long = asyncio.create_task(read(engine, ask("Long", max_tokens=400, temperature=1.0, seed=1)))
    short = asyncio.create_task(read(engine, ask("Short", max_tokens=4)))
    done, _ = await asyncio.wait({long, short}, return_when=asyncio.FIRST_COMPLETED)
    assert done == {short}
    long.cancel()
    await asyncio.gather(long, return_exceptions=True)


async def test_logprobs_tell_the_models_own_distribution(start_engine: Callable[..., TorchEngine]) -> None:
    engine = start_engine()
    entries: list[TokenLogprob] = []
    async for item in engine.stream(ask("Why?", top_logprobs=5)):
        if isinstance(item, Piece):
            entries += item.logprobs
    assert len(entries) > 3
    for entry in entries:
        values = [value for _, value in entry.top]
        assert len(values) == 5
        assert values == sorted(values, reverse=True)
        assert entry.logprob == pytest.approx(values[0])  # greedy draws the most probable


async def test_at_most_two_models_stay(start_engine: Callable[..., TorchEngine]) -> None:
    engine = start_engine()
    for kind in ("llama", "gpt2", "qwen2", "llama"):
        await read(engine, ask("Hi", kind, max_tokens=2))
        assert (await engine.health()).model == kind
    assert set(engine.loaded) == {"qwen2", "llama"}


async def test_a_model_that_is_not_here_is_named(start_engine: Callable[..., TorchEngine]) -> None:
    engine = start_engine()
    with pytest.raises(ModelNotFound, match="no-such-model"):
        await read(engine, ask("Hi", "no-such-model"))
    assert (await engine.health()).status == "failed"
    await read(engine, ask("Hi", max_tokens=2))
    assert (await engine.health()).status == "ready"


@pytest.mark.parametrize("damage", ["cut", "header", "missing tensor"])
async def test_damaged_weights_are_told(
    damage: str, tmp_path: Path, start_engine: Callable[..., TorchEngine], tiny: Any
) -> None:
    from safetensors.torch import load_file, save_file

    weights = tiny.build_model(tmp_path / "models" / "broken") / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif damage == "header":
        weights.write_bytes(b"\xff" * 8 + weights.read_bytes()[8:])
    else:
        tensors = load_file(weights)
        tensors.pop(min(tensors))
        save_file(tensors, weights, metadata={"format": "pt"})
    tiny.write_manifest(weights.parent, 512)  # the sizes fit: only the loader can see the damage
    with pytest.raises(ModelDamaged, match="broken"):
        await read(start_engine(tmp_path / "models"), ask("Hi", "broken"))


@pytest.mark.parametrize(
    "change",
    [{"num_key_value_heads": 0}, {"vocab_size": -84}, {"hidden_size": 0}, {"num_hidden_layers": "x"}],
    ids=str,
)
async def test_a_damaged_configuration_is_told(
    change: dict[str, Any], tmp_path: Path, start_engine: Callable[..., TorchEngine], tiny: Any
) -> None:
    path = tiny.build_model(tmp_path / "models" / "broken") / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    tiny.write_manifest(path.parent, 512)
    engine = start_engine(tmp_path / "models")
    for _ in range(2):
        with pytest.raises(ModelError, match="broken"):
            await read(engine, ask("Hi", "broken"))
        assert (await engine.health()).status == "failed"


async def test_whatever_a_load_raises_is_told(tiny_models: Path, start_engine: Callable[..., TorchEngine]) -> None:
    class Failing(ModelLibrary):
        def find_verified(self, name: str, on_bytes: Any = None, *, with_base: bool = True) -> ModelFolder:
            if name == "gpt2":
                raise ZeroDivisionError("odd")
            return super().find_verified(name, on_bytes, with_base=with_base)

    engine = start_engine(Failing(tiny_models))
    with pytest.raises(EngineError, match="ZeroDivisionError"):
        await read(engine, ask("Hi", "gpt2"))
    assert (await engine.health()).status == "failed"
    await read(engine, ask("Hi", max_tokens=2))
    with pytest.raises(EngineError):
        await read(engine, ask("Hi", "gpt2"))
    assert ((await engine.health()).status, (await engine.health()).model) == ("ready", "llama")


async def test_flipped_bits_are_named_and_not_answered_with(
    start_engine: Callable[..., TorchEngine], tiny: Any, tmp_path: Path
) -> None:
    folder = tiny.build_model(tmp_path / "m", "llama")
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-100] ^= 0x40
    weights.write_bytes(bytes(content))
    engine = start_engine(tmp_path)
    with pytest.raises(ModelDamaged, match=r"model\.safetensors"):
        await read(engine, ask("hello", model="m"))
    assert (await engine.health()).status == "failed"


async def test_many_models_at_once_never_hold_more_than_two(start_engine: Callable[..., TorchEngine]) -> None:
    engine = start_engine()
    names = ("llama", "gpt2", "qwen2", "mistral")
    replies = asyncio.gather(*(read(engine, ask("hello", model=name)) for name in names))
    most = 0
    while not replies.done():
        most = max(most, len(engine.loaded))
        await asyncio.sleep(0.001)
    assert len(await replies) == 4
    assert most == 2
