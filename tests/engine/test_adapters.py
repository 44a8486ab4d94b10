"""A base and its adapters in one memory: each answers as it would alone, whatever runs beside it."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from chatbot.config import EngineSettings
from chatbot.engine.adapters import attach_adapter
from chatbot.engine.loading import load_model
from chatbot.engine.protocol import Finished, GenerationRequest, Sampling
from chatbot.engine.torch_engine import TorchEngine
from chatbot.errors import ModelDamaged, ModelError, ModelNotFound
from chatbot.models.installation import install_adapter
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.models.manifest import ADAPTER_CONFIG, ADAPTER_WEIGHTS, MANIFEST
from chatbot.models.template import ChatMessage, ChatTemplate
from tests.models.tiny_adapters import add_adapter, reload_with_peft, save_adapter

QUESTION = "Why is the sky blue, and the sea?"


@pytest.fixture(scope="module")
def made(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """llama with the adapters one to six, gpt2 and qwen2 with one each; copied before anything is changed."""
    folder = tmp_path_factory.mktemp("made")
    library = ModelLibrary(folder / "models")
    for kind in ("llama", "gpt2", "qwen2", "mistral"):
        tiny.build_model(library.folder / kind, kind)
    for number, name in enumerate(("one", "two", "three", "four", "five", "six")):
        add_adapter(library, "llama", name, folder, seed=number, use_rslora=name == "two")
    for kind in ("gpt2", "qwen2"):
        add_adapter(library, kind, f"{kind}-1", folder)
    return library.folder


@pytest.fixture
def models(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "models")
    return tmp_path / "models"


def ask(model: str, text: str = QUESTION, tokens: int = 24, **sampling: Any) -> GenerationRequest:
    messages = (ChatMessage("system", "Be brief."), ChatMessage("user", text))
    return GenerationRequest(model, messages, Sampling(**{"temperature": 0.0, "max_tokens": tokens, **sampling}))


async def read(engine: TorchEngine, request: GenerationRequest) -> tuple[str, Finished]:
    text = ""
    async for item in engine.stream(request):
        if isinstance(item, Finished):
            return text, item
        text += item.text
    raise AssertionError("no Finished")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("base", "name"), [("llama", "one"), ("llama", "two"), ("qwen2", "qwen2-1"), ("gpt2", "gpt2-1")]
)
def test_the_logits_are_those_of_peft(made: Path, base: str, name: str, dtype: Any) -> None:
    import torch

    from chatbot.engine.adapters import attach_adapter
    from chatbot.engine.kv_cache import make_cache
    from chatbot.engine.loading import load_model

    library = ModelLibrary(made)
    loaded = load_model(library.find(base), EngineSettings(device="cpu", threads=1, dtype=dtype))
    ids = loaded.template.encode(ask(base).messages)
    with torch.inference_mode():
        before = loaded.decoder.read_each(ids, make_cache(loaded.decoder.module))
        model = attach_adapter(loaded, library.find(name))
        cache = make_cache(model.decoder.module)
        first = model.decoder.read_each(ids[:-9], cache)
        model.decoder.fill(ids[-9:-1], cache)
        last = model.decoder.read(ids[-1:], cache)
        plain = reload_with_peft(made / base, made / name, getattr(torch, dtype))
        expected = plain(input_ids=torch.tensor([ids])).logits[0].float()
        after = loaded.decoder.read_each(ids, make_cache(loaded.decoder.module))
    assert torch.equal(before, after)
    noise = 2e-4 if dtype == "float32" else 0.02 * float(expected.abs().max())
    assert float((first - expected[:-9]).abs().max()) < noise
    assert float((last - expected[-1]).abs().max()) < noise
    assert float((before - expected).abs().max()) > 10 * noise  # the adapter does something
    own = {parameter.data_ptr() for parameter in loaded.decoder.module.parameters()}
    assert {parameter.data_ptr() for parameter in model.decoder.module.parameters()} == own


async def test_greedy_text_is_that_of_peft(made: Path, start_engine: Callable[..., TorchEngine]) -> None:
    import torch

    engine = start_engine(made)
    for name in ("one", "two"):
        text, _ = await read(engine, ask(name))
        template = ChatTemplate.load(made / "llama")
        ids = torch.tensor([template.encode(ask(name).messages)])
        with torch.inference_mode():
            out = reload_with_peft(made / "llama", made / name).generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24, pad_token_id=0
            )
        assert text.rstrip("\ufffd") == template.decode(out[0, ids.shape[1] :].tolist()).rstrip("\ufffd")


async def test_base_and_adapters_answer_together_as_they_do_alone(
    made: Path, start_engine: Callable[..., TorchEngine]
) -> None:
    names = ("llama", "one", "two", "three")
    alone = {}
    for name in names:
        engine = start_engine(made)
        alone[name], _ = await read(engine, ask(name))
    assert len(set(alone.values())) == 4
    engine = start_engine(made)
    together = await asyncio.gather(*(read(engine, ask(name)) for name in (*names, *names)))
    assert [text for text, _ in together] == [alone[name] for name in (*names, *names)]
    # And one after the other, the base last, from caches that hold the same tokens for all of them.
    for name in ("one", "llama", "two", "llama", "one"):
        assert (await read(engine, ask(name)))[0] == alone[name]


async def test_no_model_goes_on_from_what_another_remembers(
    made: Path, start_engine: Callable[..., TorchEngine]
) -> None:
    engine = start_engine(made)
    for name in ("llama", "one", "two"):
        _, first = await read(engine, ask(name))
        _, again = await read(engine, ask(name))
        assert first.cached_tokens == 0
        assert again.cached_tokens == first.prompt_tokens - 1


async def test_scores_are_the_adapters_own(made: Path, start_engine: Callable[..., TorchEngine]) -> None:
    engine = start_engine(made)
    scores: dict[str, float] = {}
    for name in ("llama", "one", "llama"):
        messages = (*ask(name).messages, ChatMessage("assistant", "Because of the air."))
        tokens = await engine.score(GenerationRequest(name, messages, continue_last=True))
        value = sum(token.logprob for token in tokens)
        assert scores.setdefault(name, value) == value
    assert abs(scores["llama"] - scores["one"]) > 0.1


class CountingLibrary(ModelLibrary):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.read: list[str] = []

    def find_verified(self, name: str, on_bytes: Any = None, *, with_base: bool = True) -> ModelFolder:
        self.read.append(name)
        return super().find_verified(name, on_bytes, with_base=with_base)


async def test_a_base_is_read_once_and_a_few_adapters_stay(
    made: Path, start_engine: Callable[..., TorchEngine]
) -> None:
    library = CountingLibrary(made)
    engine = start_engine(library)
    for name in ("one", "two", "one", "two", "llama", "three", "four", "two"):
        await read(engine, ask(name, tokens=2))
        assert (await engine.health()).model in ("llama", "one", "two", "three", "four")
    assert library.read == ["llama", "one", "two", "three", "four"]
    await read(engine, ask("five", tokens=2))
    assert set(engine.loaded) == {"llama", "three", "four", "two", "five"}  # `one` was not asked for longest
    await read(engine, ask("two", tokens=2))
    assert library.read[5:] == ["five"]


async def test_a_base_that_leaves_takes_its_adapters_along(
    made: Path, start_engine: Callable[..., TorchEngine]
) -> None:
    engine = start_engine(made)
    for name in ("one", "qwen2-1", "gpt2-1"):
        await read(engine, ask(name, tokens=2))
    assert set(engine.loaded) == {"qwen2", "qwen2-1", "gpt2", "gpt2-1"}
    await read(engine, ask("one", tokens=2))
    assert set(engine.loaded) == {"gpt2", "gpt2-1", "llama", "one"}


async def test_many_at_once_never_hold_more_than_they_may(made: Path, start_engine: Callable[..., TorchEngine]) -> None:
    engine = start_engine(made)
    names = ("one", "gpt2-1", "two", "mistral", "three", "qwen2-1", "four", "five", "six", "llama")
    replies = asyncio.gather(*(read(engine, ask(name, tokens=4)) for name in names))
    bases = {"llama", "gpt2", "qwen2", "mistral"}
    while not replies.done():
        loaded = set(engine.loaded)
        assert len(loaded & bases) <= 2
        assert len(loaded - bases) <= 4
        await asyncio.sleep(0.001)
    assert len(await replies) == len(names)


async def test_adapters_are_listed(made: Path, start_engine: Callable[..., TorchEngine]) -> None:
    listed = {model.name: model.context for model in await start_engine(made).models()}
    assert set(listed) >= {"llama", "one", "six", "gpt2-1"}
    assert listed["one"] == listed["llama"] == 512


async def test_damaged_adapters_are_refused_and_the_others_answer(
    models: Path, start_engine: Callable[..., TorchEngine]
) -> None:
    chance = random.Random(3)
    engine = start_engine(models)
    expected = {name: (await read(engine, ask(name, tokens=4)))[0] for name in ("llama", "two")}
    for number in range(300):
        path = models / "one" / (ADAPTER_WEIGHTS, ADAPTER_CONFIG, MANIFEST)[number % 3]
        whole = path.read_bytes()
        damaged = bytearray(whole)
        if number < 100:
            damaged = damaged[: chance.randrange(len(whole))]
        else:
            damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match="one"):
            await read(engine, ask("one", tokens=4))
        path.write_bytes(whole)
        assert (await engine.health()).status == "ready"
        if number % 30 == 0:
            for name, text in expected.items():
                assert (await read(engine, ask(name, tokens=4)))[0] == text
    await read(engine, ask("one", tokens=4))


async def test_an_adapter_that_does_not_fit_is_named(models: Path, start_engine: Callable[..., TorchEngine]) -> None:
    """Its hashes are right: it was written so."""
    library = ModelLibrary(models)
    library.remove("one")
    install_adapter(library, "one", models / "gpt2-1", base=library.find("llama"), source="run:test")
    engine = start_engine(library)
    with pytest.raises(ModelDamaged, match=r"one.*does not fit llama"):
        await read(engine, ask("one"))
    assert (await read(engine, ask("two", tokens=2)))[1].completion_tokens > 0


async def test_what_changes_on_the_disk_changes_in_memory(
    models: Path, start_engine: Callable[..., TorchEngine], tmp_path: Path, tiny: Any
) -> None:
    library = ModelLibrary(models)
    engine = start_engine(library)
    old, _ = await read(engine, ask("one"))
    library.remove("one")
    with pytest.raises(ModelNotFound, match="one"):
        await read(engine, ask("one"))
    add_adapter(library, "llama", "one", tmp_path, seed=77)
    new, finished = await read(engine, ask("one"))
    assert new != old
    assert finished.cached_tokens == 0
    shutil.rmtree(models / "llama")
    tiny.build_model(models / "llama", "llama", width=32)
    with pytest.raises(ModelDamaged, match="trained on another"):
        await read(engine, ask("one"))
    await read(engine, ask("llama", tokens=2))


def test_an_adapter_answers_with_its_bases_settings(tiny: Any, tmp_path: Path) -> None:
    """Its own folder has no generation_config.json: the sampling is the base's."""
    from chatbot.engine.adapters import attach_adapter
    from chatbot.engine.loading import load_model

    folder = tiny.build_model(tmp_path / "models" / "llama")
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"temperature": 0.25, "top_k": 7, "do_sample": True}))
    tiny.write_manifest(folder, 512)
    library = ModelLibrary(tmp_path / "models")
    adapter = add_adapter(library, "llama", "one", tmp_path)
    base = load_model(library.find("llama"), EngineSettings(device="cpu", threads=1))
    model = attach_adapter(base, adapter)
    assert (model.choice.temperature, model.choice.top_k) == (0.25, 7)
    assert model.stop_ids == base.stop_ids
    assert model.context == base.context


@pytest.mark.model
async def test_the_real_model_answers_with_an_adapter_and_without(
    smollm2: Path, tmp_path: Path, start_engine: Callable[..., TorchEngine]
) -> None:
    import torch

    (tmp_path / "models").mkdir()
    (tmp_path / "models" / smollm2.name).symlink_to(smollm2)
    library = ModelLibrary(tmp_path / "models")
    add_adapter(library, smollm2.name, "one", tmp_path, r=16, lora_alpha=32, size=0.002)
    engine = start_engine(library, threads=0)
    before, _ = await read(engine, ask(smollm2.name, tokens=32))
    text, _ = await read(engine, ask("one", tokens=32))
    again, finished = await read(engine, ask(smollm2.name, tokens=32))
    assert again == before != text
    assert finished.cached_tokens == finished.prompt_tokens - 1
    ids = torch.tensor([ChatTemplate.load(smollm2).encode(ask("one").messages)])
    with torch.inference_mode():
        out = reload_with_peft(smollm2, tmp_path / "models" / "one").generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=32, pad_token_id=2
        )
    assert text == ChatTemplate.load(smollm2).decode(out[0, ids.shape[1] :].tolist()).rstrip("\ufffd")


@pytest.mark.parametrize("answers", ["chat", "text"])
def test_an_adapter_answers_in_what_it_was_taught_whatever_its_base_does(
    models: Path, tmp_path: Path, answers: Literal["chat", "text"]
) -> None:
    path = models / "mistral" / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"answers": "text"}))
    library = ModelLibrary(models)
    base = library.find("mistral")
    saved = save_adapter(base.path, tmp_path / "saved")
    folder = install_adapter(library, "reader", saved, base=base, source="run:test", answers=answers)
    loaded = load_model(base, EngineSettings(device="cpu"))
    assert loaded.template.completes
    template = attach_adapter(loaded, folder).template
    assert template.completes == (answers == "text")
    said = [ChatMessage("user", QUESTION)]
    assert template.encode(said) == folder.load_template(answering=True).encode(said)
    assert (template.encode(said) == loaded.template.encode(said)) == (answers == "text")
