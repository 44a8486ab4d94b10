"""A converted GGUF computes what the original computes, and odd files are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatbot.errors import ModelDamaged, ModelRefused
from chatbot.models.gguf_conversion import convert_gguf
from tests.models.tiny_models import Notes, build_folder, write_gguf


def test_the_converted_model_computes_the_same(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    original = build_folder(tmp_path / "original")
    gguf = write_gguf(tmp_path / "tiny.gguf", original)
    converted = tmp_path / "converted"
    converted.mkdir()
    notes = Notes()
    fields = convert_gguf(gguf, converted, notes)

    assert fields["general.license"] == "mit"
    assert notes.steps == [("Converting", gguf.stat().st_size)]
    assert notes.done
    one, other = (AutoModelForCausalLM.from_pretrained(path) for path in (original, converted))
    ids = torch.randint(0, 384, (1, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(one(ids).logits, other(ids).logits)
    assert other.config.rms_norm_eps == one.config.rms_norm_eps
    mine, theirs = (AutoTokenizer.from_pretrained(path) for path in (original, converted))
    for text in ("Year 2026, 12 rivers", "a  b   c\n\n d", "你好，世界。🎉", "they'll don't"):
        assert mine.encode(text) == theirs.encode(text)
    assert theirs.chat_template == mine.chat_template
    assert theirs.eos_token_id == other.generation_config.eos_token_id == 2


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"cutting": "deepseek-llm"}, ModelRefused, "deepseek-llm"),
        ({"value": float("nan")}, ModelDamaged, "no numbers"),
        ({"without": "model.layers.1.mlp.up_proj.weight"}, ModelDamaged, r"lacks model\.layers\.1\.mlp\.up_proj"),
    ],
)
def test_what_would_come_out_wrong_is_refused(
    changes: dict[str, object], error: type[Exception], match: str, tmp_path: Path
) -> None:
    gguf = write_gguf(tmp_path / "tiny.gguf", build_folder(tmp_path / "original"), **changes)  # type: ignore[arg-type]
    (tmp_path / "out").mkdir()
    with pytest.raises(error, match=match):
        convert_gguf(gguf, tmp_path / "out", Notes())


@pytest.mark.parametrize("kind", ["noise", "cut", "empty"])
def test_a_damaged_file_is_named(kind: str, tmp_path: Path) -> None:
    gguf = write_gguf(tmp_path / "tiny.gguf", build_folder(tmp_path / "original"))
    whole = gguf.read_bytes()
    gguf.write_bytes({"noise": b"GGUF" + b"\xff" * 5000, "cut": whole[: len(whole) // 2], "empty": b""}[kind])
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelDamaged, match=r"tiny\.gguf"):
        convert_gguf(gguf, tmp_path / "out", Notes())


def test_a_module_in_the_present_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(tmp_path / "tiny.gguf", build_folder(tmp_path / "original"))
    (tmp_path / "out").mkdir()
    for name in ("json", "torch", "chatbot", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\nraise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    convert_gguf(Path("tiny.gguf"), Path("out"), Notes())
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_what_lies_beside_the_file_is_not_read(tmp_path: Path) -> None:
    gguf = write_gguf(tmp_path / "tiny.gguf", build_folder(tmp_path / "original"))
    code = f"open({str(tmp_path / 'run')!r}, 'w')\n"
    for module in ("tokenization_tiny", "configuration_tiny", "modeling_tiny"):
        (tmp_path / f"{module}.py").write_text(code)
    auto_map = {
        "AutoTokenizer": ["tokenization_tiny.Tiny", None],
        "AutoConfig": "configuration_tiny.Tiny",
        "AutoModelForCausalLM": "modeling_tiny.Tiny",
    }
    for name in ("config.json", "tokenizer_config.json"):
        settings = {"auto_map": auto_map, "model_type": "tiny", "tokenizer_class": "Tiny"}
        (tmp_path / name).write_text(json.dumps(settings))
    adapter = {"base_model_name_or_path": "someone/else", "peft_type": "LORA"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter))
    (tmp_path / "generation_config.json").write_text('{"temperature": 77.0, "do_sample": true}')
    (tmp_path / "chat_template.jinja").write_text("a neighbour's")
    out = tmp_path / "out"
    out.mkdir()
    convert_gguf(gguf, out, Notes())
    assert not (tmp_path / "run").exists()
    assert "temperature" not in json.loads((out / "generation_config.json").read_text())
    assert "neighbour" not in (out / "chat_template.jinja").read_text()
    assert not [path.name for path in out.iterdir() if path.is_dir()]
