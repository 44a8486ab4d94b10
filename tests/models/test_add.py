"""Folders and GGUF files of strangers: taken in when they are sound, refused by name when they are not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from chatbot.errors import ChatbotError, InvalidInput, ModelDamaged, ModelRefused
from chatbot.models.add import add_model
from chatbot.models.library import ModelLibrary
from chatbot.models.template import ChatMessage
from tests.models.tiny_models import Notes, build_folder, write_gguf


@pytest.fixture
def library(tmp_path: Path) -> ModelLibrary:
    return ModelLibrary(tmp_path / "models")


@pytest.mark.parametrize(("kind", "window"), [("llama", 256), ("qwen2", 256), ("gpt2", 128)])
def test_a_folder_is_taken_in(kind: str, window: int, library: ModelLibrary, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = build_folder(tmp_path / f"My {kind}", kind)
    (source / "README.md").write_text("not wanted")
    (source / "notes").mkdir()
    model = add_model(library, str(source))
    assert model.name == f"my-{kind}"
    assert model.context == window
    assert not (model.path / "README.md").exists()
    loaded = AutoModelForCausalLM.from_pretrained(model.path)
    assert sum(weight.numel() for weight in loaded.parameters()) == model.manifest.parameters
    ids = AutoTokenizer.from_pretrained(model.path).apply_chat_template(
        [{"role": "user", "content": "Hi"}], add_generation_prompt=True, return_dict=False
    )
    assert model.load_template().encode([ChatMessage("user", "Hi")]) == ids


def test_a_gguf_file_is_taken_in(library: ModelLibrary, tmp_path: Path) -> None:
    gguf = write_gguf(tmp_path / "Tiny.Q4.GGUF", build_folder(tmp_path / "source"))
    model = add_model(library, str(gguf), name="mine")
    assert model.manifest.licence == "mit"
    assert model.manifest.source == f"gguf:{gguf}"
    assert model.manifest.dtype == "F32"
    library.verify("mine")


def test_weights_in_several_files_are_taken_in_whole(library: ModelLibrary, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    source = build_folder(tmp_path / "tiny")
    whole = AutoModelForCausalLM.from_pretrained(source)
    (source / "model.safetensors").unlink()
    whole.save_pretrained(source, max_shard_size="30KB")
    shards = sorted(source.glob("model-*.safetensors"))
    assert len(shards) > 1
    model = add_model(library, str(source))
    assert model.manifest.parameters == sum(weight.numel() for weight in whole.parameters())
    shards[0].unlink()
    with pytest.raises(ModelDamaged, match=r"index\.json"):
        add_model(library, str(source), name="other")


def test_a_taken_name_is_kept_unless_forced(library: ModelLibrary, tmp_path: Path) -> None:
    source = build_folder(tmp_path / "tiny")
    first = add_model(library, str(source))
    with pytest.raises(InvalidInput, match="already"):
        add_model(library, str(source))
    shutil.rmtree(source)
    add_model(library, str(build_folder(tmp_path / "tiny", "qwen2")), force=True)
    assert library.find("tiny").manifest.architecture == "Qwen2ForCausalLM"
    assert library.find("tiny").sha256 != first.sha256
    assert sorted(path.name for path in library.folder.iterdir()) == [".lock", "tiny"]


def test_a_refused_replacement_leaves_the_old_model(library: ModelLibrary, tmp_path: Path) -> None:
    source = build_folder(tmp_path / "tiny")
    first = add_model(library, str(source))
    change_json(source / "config.json", auto_map={"AutoModelForCausalLM": "evil.Model"})
    with pytest.raises(ModelRefused):
        add_model(library, str(source), force=True)
    library.verify("tiny")
    assert library.find("tiny").sha256 == first.sha256


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def replace_weights(name: str) -> Callable[[Path], object]:
    return lambda source: (source / "model.safetensors").rename(source / name)


def link_out(source: Path) -> None:
    target = source.parent / "outside.json"
    (source / "config.json").rename(target)
    (source / "config.json").symlink_to(target)


def lie_in_header(source: Path) -> None:
    path = source / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"shape":[', b'"shape":[9', 1))


def leave_out_weight(source: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(source / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, source / "model.safetensors", {"format": "pt"})


def name_code(source: Path) -> None:
    change_json(source / "config.json", auto_map={"AutoModelForCausalLM": "evil\x1b[2J.Model"})


CASES: list[tuple[str, Callable[[Path], object], type[ChatbotError], str]] = [
    ("pickle", replace_weights("pytorch_model.bin"), ModelRefused, r"pytorch_model\.bin"),
    ("torch", replace_weights("consolidated.pth"), ModelRefused, r"consolidated\.pth"),
    ("no weights", lambda source: (source / "model.safetensors").unlink(), ModelRefused, r"no model\.safetensors"),
    ("no config", lambda source: (source / "config.json").unlink(), ModelRefused, r"no config\.json"),
    ("code", name_code, ModelRefused, "auto_map"),
    (
        "tokenizer code",
        lambda source: change_json(source / "tokenizer_config.json", auto_map={"AutoTokenizer": ["t.T", None]}),
        ModelRefused,
        "auto_map",
    ),
    ("unknown", lambda source: change_json(source / "config.json", model_type="martian"), ModelRefused, "martian"),
    ("no type", lambda source: change_json(source / "config.json", model_type=["llama"]), ModelRefused, "llama"),
    (
        "classifier",
        lambda source: change_json(source / "config.json", architectures=["LlamaForSequenceClassification"]),
        ModelRefused,
        "LlamaForSequenceClassification",
    ),
    ("link", link_out, ModelRefused, "is a link"),
    ("cut", lambda source: os.truncate(source / "model.safetensors", 5000), ModelDamaged, r"model\.safetensors"),
    ("header", lie_in_header, ModelDamaged, r"model\.safetensors"),
    ("left out", leave_out_weight, ModelDamaged, "not whole"),
    (
        "sizes",
        lambda source: change_json(source / "config.json", num_attention_heads=7),
        ModelDamaged,
        r"config\.json",
    ),
    ("json", lambda source: (source / "config.json").write_text("{" * 9), ModelDamaged, r"config\.json"),
    ("deep", lambda source: (source / "config.json").write_text("[" * 200_000), ModelDamaged, r"config\.json"),
    ("tokenizer", lambda source: (source / "tokenizer.json").write_text("{}"), ModelDamaged, r"tokenizer\.json"),
    ("small vocabulary", lambda source: change_json(source / "config.json", vocab_size=9), ModelDamaged, "belong"),
    ("template", lambda source: (source / "chat_template.jinja").write_text("{{"), ModelDamaged, "template"),
    (
        "endless template",
        lambda source: (source / "chat_template.jinja").write_text(
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
        ),
        ModelRefused,
        "does not come to an end",
    ),
]


@pytest.mark.parametrize(("damage", "error", "match"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_folder_that_is_not_sound_is_refused_by_name(
    damage: Callable[[Path], object], error: type[ChatbotError], match: str, library: ModelLibrary, tmp_path: Path
) -> None:
    source = build_folder(tmp_path / "tiny")
    damage(source)
    with pytest.raises(error, match=match) as caught:
        add_model(library, str(source))
    assert "\x1b" not in str(caught.value)
    assert library.list() == []
    assert [path.name for path in library.folder.iterdir()] == [".lock"]


def test_a_missing_fast_tokenizer_is_made(library: ModelLibrary, tmp_path: Path) -> None:
    source = build_folder(tmp_path / "tiny", "gpt2")
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    (source / "tokenizer.json").unlink()
    (source / "vocab.json").write_text(json.dumps(tokenizer["model"]["vocab"]))
    merges = "\n".join(" ".join(pair) for pair in tokenizer["model"]["merges"])
    (source / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    change_json(source / "tokenizer_config.json", tokenizer_class="GPT2Tokenizer")
    model = add_model(library, str(source))
    assert (model.path / "tokenizer.json").exists()
    assert (
        model.load_template().decode(model.load_template().encode([ChatMessage("user", "Hi")])).endswith("assistant\n")
    )


@pytest.mark.parametrize(
    "what", ["no such thing", "/nowhere/at/all", "a/b/c", "", "../x", "org/na me", "x" * 5000, "a\x00b"]
)
def test_what_is_nothing_is_named(what: str, library: ModelLibrary) -> None:
    with pytest.raises((InvalidInput, ModelRefused)):
        add_model(library, what)


def test_notes_tell_the_bytes_copied(library: ModelLibrary, tmp_path: Path) -> None:
    notes = Notes()
    model = add_model(library, str(build_folder(tmp_path / "tiny")), reporter=notes)
    assert [title for title, _ in notes.steps] == ["Copying", "Checking"]
    assert notes.steps[1][1] == model.manifest.size
    assert max(notes.done) == model.manifest.size
