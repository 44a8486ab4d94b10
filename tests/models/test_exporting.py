"""What is exported loads elsewhere and answers as it does here, and a merge that does not is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from chatbot.errors import InvalidInput, ModelDamaged, ModelRefused
from chatbot.models.add import add_model
from chatbot.models.exporting import export_adapter
from chatbot.models.library import ModelLibrary
from chatbot.models.manifest import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from tests.models.tiny_adapters import add_adapter, reload_with_peft
from tests.models.tiny_models import Notes, build_folder

IDS = [[1, 50, 60, 70, 80, 90, 100, 2, 30, 40]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ModelLibrary:
    """Bases in three number formats, each with an adapter that its base's name and -1 call."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("made")
    library = ModelLibrary(folder / "models")
    for name, dtype in (("float32", None), ("float16", torch.float16), ("bfloat16", torch.bfloat16)):
        source = build_folder(folder / name)
        if dtype is not None:
            AutoModelForCausalLM.from_pretrained(source, dtype=dtype).save_pretrained(source)
        add_model(library, str(source), reporter=Notes())
        add_adapter(library, name, f"{name}-1", folder)
    add_model(library, str(build_folder(folder / "gpt2", "gpt2")), reporter=Notes())
    add_adapter(library, "gpt2", "gpt2-1", folder)
    return library


def read_logits(model: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.tensor(IDS)).logits.float()


@pytest.mark.parametrize("base", ["float32", "gpt2"])
def test_a_plain_export_is_what_peft_loads(library: ModelLibrary, base: str, tmp_path: Path) -> None:
    import torch

    here = library.find(f"{base}-1")
    made = export_adapter(library, here.name, tmp_path / "out")
    assert {path.name for path in made.path.iterdir()} == {ADAPTER_CONFIG, ADAPTER_WEIGHTS, "export.json"}
    modules = json.loads((made.path / ADAPTER_CONFIG).read_bytes())["target_modules"]
    assert modules == sorted(modules), "the same adapter is exported to the same bytes"
    assert (made.path / ADAPTER_WEIGHTS).read_bytes() == (here.path / ADAPTER_WEIGHTS).read_bytes()
    assert made.size == sum(path.stat().st_size for path in made.path.iterdir())
    said = json.loads((made.path / ADAPTER_CONFIG).read_text())
    assert said["base_model_name_or_path"] == base  # and no path of this machine
    base_path = library.find(base).path
    loaded, original = reload_with_peft(base_path, made.path), reload_with_peft(base_path, here.path)
    assert torch.equal(read_logits(loaded), read_logits(original))
    with loaded.disable_adapter():
        assert not torch.allclose(read_logits(loaded), read_logits(original), atol=0.01)


@pytest.mark.parametrize("base", ["float32", "float16", "bfloat16", "gpt2"])
def test_a_merged_export_is_a_model_that_answers_the_same(library: ModelLibrary, base: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    notes = Notes()
    made = export_adapter(library, f"{base}-1", tmp_path / "out", merged=True, reporter=notes)
    near = made.comparison
    assert near is not None
    assert near.dtype == ("float32" if base == "gpt2" else base)
    assert 0 <= near.difference <= near.tolerance
    assert near.lost < 0.05
    assert near.tokens > 40
    assert near.same_choice > 0.9
    assert [title for title, _ in notes.steps] == ["Verifying", "Merging", "Comparing"]
    alone = AutoModelForCausalLM.from_pretrained(made.path, dtype=torch.float32).eval()
    apart = reload_with_peft(library.find(base).path, library.find(f"{base}-1").path)
    assert torch.allclose(read_logits(alone), read_logits(apart), atol=near.tolerance)
    with apart.disable_adapter():
        assert not torch.allclose(read_logits(alone), read_logits(apart), atol=4 * near.tolerance)
    stored = AutoModelForCausalLM.from_pretrained(made.path)
    assert str(stored.dtype) == f"torch.{near.dtype}"
    assert AutoTokenizer.from_pretrained(made.path).chat_template
    # It can come back as a base model of its own.
    again = ModelLibrary(tmp_path / "models")
    assert (
        add_model(again, str(made.path), name="merged", reporter=Notes()).template_sha
        == library.find(base).template_sha
    )


def test_a_merge_that_answers_otherwise_is_refused(
    library: ModelLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft.tuners.lora import LoraModel

    def lose(self: Any, *_: Any, **__: Any) -> Any:
        return self.unload()  # the base alone, as if every change had been rounded away

    monkeypatch.setattr(LoraModel, "merge_and_unload", lose)
    with pytest.raises(ModelRefused, match="answers otherwise"):
        export_adapter(library, "float16-1", tmp_path / "out", merged=True)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_a_merge_that_would_round_the_change_away_is_refused(library: ModelLibrary, tmp_path: Path) -> None:
    add_adapter(library, "bfloat16", "faint-1", tmp_path, size=1e-5)
    with pytest.raises(ModelRefused, match="too small for bfloat16 weights"):
        export_adapter(library, "faint-1", tmp_path / "out", merged=True)
    assert not (tmp_path / "out").exists()
    export_adapter(library, "faint-1", tmp_path / "out")


def test_weights_that_overflow_are_refused(library: ModelLibrary, tmp_path: Path) -> None:
    add_adapter(library, "float16", "huge-1", tmp_path, size=1e6)
    with pytest.raises(ModelRefused, match="do not fit into float16"):
        export_adapter(library, "huge-1", tmp_path / "out", merged=True)
    assert not (tmp_path / "out").exists()


def test_nothing_of_others_is_overwritten(library: ModelLibrary, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_adapter(library, "float32-1", out)
    with pytest.raises(InvalidInput, match="exists already"):
        export_adapter(library, "float32-1", out)
    export_adapter(library, "float32-1", out, merged=True, force=True)
    assert (out / "model.safetensors").is_file()
    export_adapter(library, "float32-1", out, force=True)
    assert not (out / "model.safetensors").exists()
    (out / "mine.txt").write_text("kept")
    with pytest.raises(InvalidInput, match="other things"):
        export_adapter(library, "float32-1", out, force=True)
    (out / "mine.txt").unlink()
    (out / "letters").mkdir()
    with pytest.raises(InvalidInput, match="other things"):
        export_adapter(library, "float32-1", out, force=True)
    model = tmp_path / "a-model-of-others"  # it has the files of an export, and none wrote it
    shutil.copytree(library.find("float32").path, model)
    with pytest.raises(InvalidInput, match="other things"):
        export_adapter(library, "float32-1", model, force=True)
    assert (model / "config.json").is_file()
    (tmp_path / "home-work").mkdir()
    (tmp_path / "home-work" / "thesis.txt").write_text("years")
    with pytest.raises(InvalidInput, match="other things"):
        export_adapter(library, "float32-1", tmp_path / "home-work", force=True)
    (tmp_path / "link").symlink_to(tmp_path / "home-work")
    with pytest.raises(InvalidInput, match="no folder"):
        export_adapter(library, "float32-1", tmp_path / "link", force=True)
    with pytest.raises(InvalidInput, match="among the models"):
        export_adapter(library, "float32-1", library.folder / "new")
    with pytest.raises(InvalidInput, match="base model"):
        export_adapter(library, "float32", tmp_path / "other")


def test_a_damaged_adapter_is_not_exported(library: ModelLibrary, tmp_path: Path) -> None:
    path = add_adapter(library, "float32", "damaged-1", tmp_path).path / ADAPTER_WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for merged in (False, True):
        with pytest.raises(ModelDamaged, match="damaged-1/adapter_model"):
            export_adapter(library, "damaged-1", tmp_path / "out", merged=merged)
    assert not (tmp_path / "out").exists()
