"""The weights of both models stand in one format, the finest for which there is room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatbot.admin.evaluation import weights
from chatbot.admin.evaluation.bench import Bench
from chatbot.admin.evaluation.questions import render_answer
from chatbot.admin.evaluation.weights import FINEST, Weights, list_formats
from chatbot.errors import ModelDamaged, OutOfMemory
from chatbot.models.library import ModelFolder, ModelLibrary
from tests.admin.evaluation.benches import ask
from tests.admin.training.samples import build_tiny
from tests.models.tiny_adapters import add_adapter

HALF = Weights("bfloat16")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return build_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def adapter(base: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return add_adapter(ModelLibrary(base.path.parent), "tiny", "tiny-1", tmp_path_factory.mktemp("saved"), size=0.3)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The formats that were loaded; in float32 there is no room."""
    from transformers import AutoModelForCausalLM

    load = AutoModelForCausalLM.from_pretrained
    tried: list[str] = []

    def refuse(*place: Any, dtype: Any, **options: Any) -> Any:
        tried.append(str(dtype).removeprefix("torch."))
        if tried[-1] == "float32":
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 32000000000 bytes.")
        return load(*place, dtype=dtype, **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", refuse)
    return tried


def open_bench(base: ModelFolder, adapter: ModelFolder, formats: tuple[Weights, ...]) -> Bench:
    return Bench(base, {"candidate": adapter.path}, base.load_template(), formats)


def test_the_formats_of_a_run_come_after_the_exact_one() -> None:
    assert list_formats({"dtype": "bfloat16", "config": {"quantize": False}}) == (FINEST, HALF)
    assert list_formats({"dtype": "float16", "config": {"quantize": True}}) == (
        FINEST,
        Weights("float16"),
        Weights("float16", quantized=True),
    )
    for other in ({}, {"dtype": "float32", "config": {}}, {"dtype": ["x"], "config": "y"}, {"dtype": "int8"}):
        assert list_formats(other) == (FINEST,)


def test_what_does_not_fit_exactly_is_loaded_as_it_was_trained(
    base: ModelFolder, adapter: ModelFolder, asked: list[str]
) -> None:
    bench = open_bench(base, adapter, (FINEST, HALF, Weights("bfloat16", quantized=True)))
    assert asked == ["float32", "bfloat16"]
    assert str(bench.weights) == "bfloat16"
    row = render_answer(bench.template, ask("Why is the sky blue?", "The air.", "a").turns, "The air scatters light.")
    own, other = (bench.losses(side, [row])[0].mean for side in ("candidate", "champion"))
    assert own != other
    assert 0 < other < 20
    assert bench.answer("candidate", [row.tokens[:8]], limits=[3])[0].tokens <= 3


def test_without_another_format_it_is_told(base: ModelFolder, adapter: ModelFolder, asked: list[str]) -> None:
    with pytest.raises(OutOfMemory, match="tiny in float32 does not fit"):
        open_bench(base, adapter, (FINEST,))
    assert asked == ["float32"]


def test_what_there_is_no_room_for_is_not_tried(
    base: ModelFolder, adapter: ModelFolder, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU would end the process."""
    monkeypatch.setattr(weights, "_count_free", lambda _: 3 * base.manifest.parameters)
    assert open_bench(base, adapter, (FINEST, HALF)).weights == HALF
    assert asked == ["bfloat16"]


def test_with_room_it_is_exact(base: ModelFolder, adapter: ModelFolder) -> None:
    assert open_bench(base, adapter, (FINEST, HALF)).weights == FINEST


def test_a_fault_is_no_lack_of_memory(base: ModelFolder, tmp_path: Path) -> None:
    with pytest.raises(ModelDamaged, match="cannot be loaded"):
        Bench(base, {"candidate": tmp_path / "none"}, base.load_template(), (FINEST, HALF))
