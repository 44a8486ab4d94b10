"""An adapter is found with its own base or not at all, and nothing in its files is believed unseen."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from chatbot.errors import InvalidInput, ModelDamaged, ModelError, ModelNotFound, ModelRefused
from chatbot.models.adapters import read_adapter_config, read_adapter_weights
from chatbot.models.add import add_model
from chatbot.models.installation import install_adapter
from chatbot.models.library import ModelLibrary
from chatbot.models.manifest import ADAPTER_CONFIG, ADAPTER_WEIGHTS, MANIFEST, Manifest
from chatbot.models.template import ChatMessage
from tests.models.tiny_adapters import add_adapter, save_adapter
from tests.models.tiny_models import Notes, build_folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with the base `tiny` and its adapter `tiny-1`; it is copied, never changed."""
    folder = tmp_path_factory.mktemp("made")
    library = ModelLibrary(folder / "models")
    add_model(library, str(build_folder(folder / "tiny")), reporter=Notes())
    add_adapter(library, "tiny", "tiny-1", folder)
    return library.folder


@pytest.fixture
def library(made: Path, tmp_path: Path) -> ModelLibrary:
    shutil.copytree(made, tmp_path / "models")
    return ModelLibrary(tmp_path / "models")


def test_an_adapter_is_a_model_with_a_base(library: ModelLibrary) -> None:
    adapter, base = library.find("tiny-1"), library.find("tiny")
    assert (adapter.kind, base.kind) == ("adapter", "base")
    assert adapter.base == base
    assert base.base is None
    assert adapter.foundation == base.foundation == base
    assert adapter.context == base.context
    assert [one.name for one in library.list()] == ["tiny", "tiny-1"]
    manifest = adapter.manifest
    assert (manifest.base, manifest.base_sha256) == ("tiny", base.sha256)
    assert (manifest.architecture, manifest.dtype) == (base.manifest.architecture, base.manifest.dtype)
    # 4 ranks × (inputs + outputs) of seven layers in each of two blocks
    assert manifest.parameters == 2 * 4 * ((32 + 32) + 2 * (32 + 16) + (32 + 32) + 3 * (32 + 64))
    template = adapter.load_template()
    assert template.sha256 == adapter.template_sha
    assert template.encode([ChatMessage("user", "Hi")]) == base.load_template().encode([ChatMessage("user", "Hi")])


def test_verifying_an_adapter_reads_its_base_too(library: ModelLibrary) -> None:
    read: list[int] = []
    adapter = library.find_verified("tiny-1", read.append)
    assert adapter.base is not None
    assert sum(read) == adapter.manifest.size + adapter.base.manifest.size
    weights = adapter.base.path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelDamaged, match=r"tiny/model\.safetensors differs"):
        library.verify("tiny-1")
    library.find_verified("tiny-1", with_base=False)


def test_without_its_base_an_adapter_is_named_and_not_found(library: ModelLibrary) -> None:
    library.remove("tiny", force=True)
    with pytest.raises(ModelNotFound, match="tiny-1 is an adapter of tiny, which is not here"):
        library.find("tiny-1")
    assert library.list() == []
    assert set(library.damaged()) == {"tiny-1"}


def test_another_base_of_the_same_name_is_not_its_base(library: ModelLibrary, tmp_path: Path) -> None:
    add_model(library, str(build_folder(tmp_path / "tiny", "qwen2")), force=True, reporter=Notes())
    with pytest.raises(ModelDamaged, match="trained on another"):
        library.find("tiny-1")
    assert [one.name for one in library.list()] == ["tiny"]


@pytest.mark.parametrize("name", ["base_sha256", "tokenizer_sha256", "template_sha256"])
def test_what_it_was_trained_with_must_be_here(library: ModelLibrary, name: str) -> None:
    rewrite(library.folder / "tiny-1", **{name: "0" * 64})
    with pytest.raises(ModelDamaged, match="trained on another"):
        library.find("tiny-1")


@pytest.mark.parametrize("base", ["tiny-1", "tiny-2"])
def test_an_adapter_of_an_adapter_is_refused(library: ModelLibrary, base: str) -> None:
    shutil.copytree(library.folder / "tiny-1", library.folder / "tiny-2")
    rewrite(library.folder / "tiny-1", base=base)
    rewrite(library.folder / "tiny-2", base="tiny-1")
    with pytest.raises(ModelError, match="tiny-1 is an adapter of"):
        library.find("tiny-1")


def test_a_base_that_adapters_need_is_kept(library: ModelLibrary, tmp_path: Path) -> None:
    add_adapter(library, "tiny", "tiny-2", tmp_path)
    with pytest.raises(InvalidInput, match="tiny-1, tiny-2"):
        library.remove("tiny")
    library.verify("tiny-2")
    library.remove("tiny-1")
    library.remove("tiny-2")
    library.remove("tiny")
    assert library.list() == []


def test_every_truncation_and_flipped_bit_is_named_and_refused(library: ModelLibrary) -> None:
    chance = random.Random(5)
    folder = library.folder / "tiny-1"
    for number in range(300):
        path = folder / (ADAPTER_WEIGHTS, ADAPTER_CONFIG, MANIFEST)[number % 3]
        whole = path.read_bytes()
        damaged = bytearray(whole)
        if number < 100:
            damaged = damaged[: chance.randrange(len(whole))]
        else:
            damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(ModelError) as refusal:
            library.find_verified("tiny-1")
        assert "tiny-1" in str(refusal.value)
        assert path.name in str(refusal.value) or "tiny-1 is an adapter of" in str(refusal.value)
        path.write_bytes(whole)
        library.find_verified("tiny-1")


@pytest.mark.parametrize("key", ["seal", "revision", "kind", "licence"])
def test_a_manifest_that_lost_a_key_is_damaged(library: ModelLibrary, key: str) -> None:
    path = library.folder / "tiny-1" / MANIFEST
    path.write_text(path.read_text().replace(f'"{key}"', f'"{key[:-1]}_"'))
    with pytest.raises(ModelDamaged, match=r"manifest\.json"):
        library.find("tiny-1")


def test_a_base_model_needs_no_seal(library: ModelLibrary) -> None:
    path = library.folder / "tiny" / MANIFEST
    said = json.loads(path.read_text())
    assert said.pop("seal") == ""
    for name in ("kind", "base", "base_sha256", "tokenizer_sha256"):
        del said[name]
    path.write_text(json.dumps(said))
    assert library.find("tiny").kind == "base"


@pytest.mark.parametrize(
    "change",
    [
        {"peft_type": "PREFIX_TUNING"},
        {"task_type": "SEQ_CLS"},
        {"auto_mapping": {"base_model_class": "X", "parent_library": "evil"}},
        {"r": 0},
        {"r": 1025},
        {"r": 10**400},
        {"lora_alpha": 0},
        {"lora_alpha": -1},
        {"target_modules": "all-linear"},
        {"target_modules": "(a+)+$"},
        {"target_modules": []},
        {"target_modules": ["(a+)+$"]},
        {"target_modules": ["a" * 201]},
        {"target_modules": [f"m{number}" for number in range(2001)]},
        {"modules_to_save": ["lm_head"]},
        {"bias": "all"},
        {"use_dora": True},
        {"rank_pattern": {"(a+)+$": 8}},
        {"alpha_pattern": {"q_proj": 8}},
        {"layers_to_transform": [0]},
        {"layer_replication": [[0, 4], [2, 5]]},
        {"init_lora_weights": "pissa"},
        {"trainable_token_indices": [1]},
        {"exclude_modules": ".*"},
        {"target_parameters": ["x"]},
        {"some_new_switch": {"on": 1}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_configuration_that_asks_for_more_is_refused(made: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    said = json.loads((made / "tiny-1" / ADAPTER_CONFIG).read_text())
    (tmp_path / ADAPTER_CONFIG).write_text(json.dumps(said))
    read_adapter_config(tmp_path)
    (tmp_path / ADAPTER_CONFIG).write_text(json.dumps(said | change))
    with pytest.raises((ModelRefused, ModelDamaged), match=ADAPTER_CONFIG):
        read_adapter_config(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"[" * 100_000, b'{"r": "\xff"}', b" " * (1 << 21)],
    ids=lambda content: repr(content[:12]),
)
def test_a_configuration_that_is_none_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ADAPTER_CONFIG).write_bytes(content)
    with pytest.raises(ModelDamaged, match=ADAPTER_CONFIG):
        read_adapter_config(tmp_path)


@pytest.mark.parametrize("damage", ["one matrix", "rank", "not a number", "strange", "untargeted", "empty", "integers"])
def test_weights_that_do_not_hold_together_are_refused(made: Path, tmp_path: Path, damage: str) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(made / "tiny-1" / ADAPTER_WEIGHTS)
    key = next(key for key in sorted(tensors) if "lora_A" in key)
    if damage == "one matrix":
        del tensors[key]
    elif damage == "rank":
        tensors[key] = tensors[key][:3].clone()
    elif damage == "not a number":
        tensors[key][0, 0] = float("nan")
    elif damage == "strange":
        tensors["base_model.model.lm_head.weight"] = torch.zeros(2, 2)
    elif damage == "untargeted":
        for matrix in "AB":
            tensors[f"base_model.model.x.lora_{matrix}.weight"] = torch.zeros(4, 4)
    elif damage == "empty":
        tensors = {}
    else:
        tensors[key] = tensors[key].to(torch.int32)
    save_file(tensors, tmp_path / ADAPTER_WEIGHTS)
    config = read_adapter_config(made / "tiny-1")
    with pytest.raises((ModelDamaged, ModelRefused), match=r"adapter_model\.safetensors"):
        read_adapter_weights(tmp_path, config)


def test_pickled_weights_are_not_looked_at(library: ModelLibrary, tmp_path: Path) -> None:
    saved = save_adapter(library.folder / "tiny", tmp_path / "saved")
    (saved / ADAPTER_WEIGHTS).rename(saved / "adapter_model.bin")
    with pytest.raises(ModelError, match=ADAPTER_WEIGHTS.replace(".", r"\.")):
        install_adapter(library, "tiny-2", saved, base=library.find("tiny"), source="run:test")
    assert not (library.folder / "tiny-2").exists()


def test_an_adapter_takes_no_others_place_and_brings_nothing_else(library: ModelLibrary, tmp_path: Path) -> None:
    base = library.find("tiny")
    saved = save_adapter(base.path, tmp_path / "saved", seed=3)
    (saved / "optimizer.pt").write_bytes(b"pickle")
    before = library.find("tiny-1")
    with pytest.raises(InvalidInput, match="tiny-1 already"):
        install_adapter(library, "tiny-1", saved, base=base, source="run:test")
    assert library.find("tiny-1") == before
    install_adapter(library, "tiny-3", saved, base=base, source="run:7")
    assert {path.name for path in (library.folder / "tiny-3").iterdir()} == {ADAPTER_CONFIG, ADAPTER_WEIGHTS, MANIFEST}
    with pytest.raises(ModelRefused, match="adapter itself"):
        install_adapter(library, "tiny-4", saved, base=library.find("tiny-3"), source="run:8")


def test_an_adapter_of_a_base_that_changed_meanwhile_is_refused(library: ModelLibrary, tmp_path: Path) -> None:
    base = library.find("tiny")
    saved = save_adapter(base.path, tmp_path / "saved")
    add_model(library, str(build_folder(tmp_path / "tiny", "qwen2")), force=True, reporter=Notes())
    with pytest.raises(ModelDamaged, match="trained on another"):
        install_adapter(library, "tiny-2", saved, base=base, source="run:test")
    assert not (library.folder / "tiny-2").exists()


def rewrite(folder: Path, **changes: Any) -> None:
    """A manifest that is whole but says something else."""
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(manifest.model_copy(update=changes).model_dump_json())
