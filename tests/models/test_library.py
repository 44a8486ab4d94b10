"""What is whole is found, what is not is named, and nothing outside the library is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatbot.errors import InvalidInput, ModelDamaged, ModelNotFound
from chatbot.models.add import add_model
from chatbot.models.library import ModelLibrary
from chatbot.models.manifest import MANIFEST, check_name
from chatbot.models.template import ChatMessage
from tests.models.tiny_models import Notes, build_folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_folder(tmp_path_factory.mktemp("source") / "tiny")


@pytest.fixture
def library(tmp_path: Path, source: Path) -> ModelLibrary:
    library = ModelLibrary(tmp_path / "models")
    add_model(library, str(source), reporter=Notes())
    return library


def test_an_empty_library_lists_nothing(tmp_path: Path) -> None:
    library = ModelLibrary(tmp_path / "nowhere")
    assert library.list() == []
    with pytest.raises(ModelNotFound, match="tiny"):
        library.find("tiny")
    assert not (tmp_path / "nowhere").exists()


def test_a_whole_model_is_found(library: ModelLibrary) -> None:
    model = library.find("tiny")
    assert [one.name for one in library.list()] == ["tiny"]
    assert library.damaged() == {}
    library.verify("tiny")
    assert model.context == model.manifest.context == 256
    assert model.manifest.architecture == "LlamaForCausalLM"
    assert model.manifest.dtype == "F32"
    template = model.load_template()
    assert template.sha256 == model.template_sha
    assert template.encode([ChatMessage("user", "Hi")])
    assert {path.stat().st_mode & 0o777 for path in model.path.iterdir()} == {0o600}
    assert model.path.stat().st_mode & 0o777 == 0o700


def test_damage_is_named(library: ModelLibrary) -> None:
    path = library.find("tiny").path
    weights = path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    library.find("tiny")  # a look at sizes cannot see it
    with pytest.raises(ModelDamaged, match=r"model\.safetensors differs"):
        library.verify("tiny")
    weights.write_bytes(content[:-1])
    with pytest.raises(ModelDamaged, match=r"model\.safetensors has"):
        library.find("tiny")
    weights.unlink()
    with pytest.raises(ModelDamaged, match=r"model\.safetensors is missing"):
        library.find("tiny")
    assert library.list() == []
    assert "model.safetensors" in library.damaged()["tiny"].message


def test_flipped_bits_are_seen_before_the_weights_are_loaded(library: ModelLibrary) -> None:
    counted: list[int] = []
    model = library.find_verified("tiny", counted.append)
    assert model == library.find("tiny")
    assert sum(counted) == model.manifest.size
    weights = model.path / "model.safetensors"
    before = weights.stat()
    content = bytearray(weights.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 200):
        content[place] ^= 0x10
    weights.write_bytes(content)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a rotting disk would leave it
    with pytest.raises(ModelDamaged, match=r"model\.safetensors differs") as caught:
        library.find_verified("tiny")
    assert "add --force --name tiny" in caught.value.hint


def test_one_scan_tells_both(library: ModelLibrary) -> None:
    (library.folder / "half").mkdir()
    whole, damaged = library.scan()
    assert [model.name for model in whole] == ["tiny"]
    assert list(damaged) == ["half"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": 2}', '{"format": 1, "name": "tiny"}', "\xff\x00", "[" * 100_000]
)
def test_a_damaged_manifest_is_named(content: str, library: ModelLibrary) -> None:
    (library.folder / "tiny" / MANIFEST).write_text(content, "latin-1")
    with pytest.raises(ModelDamaged, match=r"manifest\.json"):
        library.find("tiny")


def test_a_manifest_cannot_lead_out_of_its_folder(library: ModelLibrary) -> None:
    path = library.folder / "tiny" / MANIFEST
    path.write_text(path.read_text().replace('"config.json"', '"../../secret.json"'))
    with pytest.raises(ModelDamaged, match=r"files\.\d"):
        library.find("tiny")


def test_a_folder_that_is_half_a_model_is_none(library: ModelLibrary) -> None:
    (library.folder / "tiny" / MANIFEST).unlink()
    (library.folder / ".tiny.x1").mkdir()
    assert library.list() == []
    assert list(library.damaged()) == ["tiny"]
    with pytest.raises(ModelDamaged, match="is no model"):
        library.find("tiny")


def test_a_removed_model_is_gone(library: ModelLibrary) -> None:
    library.remove("tiny")
    assert [path.name for path in library.folder.iterdir()] == [".lock"]
    with pytest.raises(ModelNotFound):
        library.remove("tiny")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "a\x00b", "a b", "x" * 97, "ü", "-x"]
)
def test_a_name_that_is_none_is_refused(name: str, library: ModelLibrary) -> None:
    with pytest.raises(InvalidInput):
        check_name(name)
    for method in (library.find, library.find_verified, library.verify, library.remove):
        with pytest.raises(ModelNotFound):
            method(name)


def test_a_link_in_the_library_is_not_removed(library: ModelLibrary, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    (library.folder / "link").symlink_to(tmp_path / "precious")
    with pytest.raises(ModelNotFound):
        library.remove("link")
    assert (tmp_path / "precious" / "file").exists()
