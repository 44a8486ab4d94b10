"""A GGUF file, turned once into the folder that transformers reads.

It runs in a process of its own (`convert_gguf` starts it): the file is a stranger's binary data, the conversion takes
some times its size in memory, and both should be gone when it is done. The process asks no network and dies with its
parent.

Numbers are stored as float16. Four-bit blocks (scale × level + minimum) have more digits than 16 bits hold: of the
weights of SmolLM2-135M in Q4_1, 52% stay exact in float16 and 18% in bfloat16. What counts is what the model says:
against float32, the mean KL divergence of the next token over 1,024 tokens of Shakespeare was 2e-6 nats in float16
(same most probable token in all of them) and 6e-5 in bfloat16 (in 99.6%). The original was trained in bfloat16 and cut
to four bits; float32 would double the disk to keep the noise. A file whose own numbers are bfloat16 or float32, or too
large for float16, keeps them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatbot.errors import ModelDamaged, ModelError, ModelRefused
from chatbot.models.child_process import FOLDER, clean_environment, name_command
from chatbot.models.gguf_tokenizer import build_tokenizer
from chatbot.models.progress import Reporter, report_step
from chatbot.text import printable_line

if TYPE_CHECKING:
    import torch

_SHARD = "5GB"
_METADATA_LIMIT = 200  # characters of a text that is repeated in an error


def convert_gguf(gguf: Path, folder: Path, reporter: Reporter) -> dict[str, str]:
    """Writes config.json, model.safetensors, tokenizer.json and so on into `folder`; returns what the file says of
    itself (general.name, general.license and so on). Raises ModelRefused, ModelDamaged, ModelError.
    """
    size = gguf.stat().st_size
    environment = clean_environment(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    with (
        report_step(reporter, "Converting", size),
        subprocess.Popen(  # noqa: S603  our own interpreter and module, no shell
            [*name_command("chatbot.models.gguf_conversion"), str(gguf.absolute()), str(folder.absolute())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=FOLDER,
            env=environment,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        tail = b""
        try:
            while block := os.read(process.stderr.fileno(), 4096):
                # transformers draws its own bar here; its percentage is all that we want of it.
                tail = (tail + block)[-20_000:]
                if found := re.findall(rb"(\d{1,3})%\|", tail[-len(block) - 10 :]):
                    reporter.update(min(int(found[-1]), 100) * size // 100)
            answer = process.stdout.read()
        except BaseException:
            process.kill()
            raise
    try:
        outcome = json.loads(answer)
    except ValueError:
        lines = tail.decode("utf-8", "replace").strip().splitlines()
        reason = printable_line(lines[-1], 300) if lines else f"exit code {process.returncode}"
        raise ModelDamaged(f"{gguf.name} cannot be converted: {reason}") from None
    if outcome.get("error"):
        kinds: dict[str, type[ModelError]] = {"refused": ModelRefused, "damaged": ModelDamaged}
        raise kinds.get(outcome["kind"], ModelError)(outcome["error"], hint=outcome.get("hint", ""))
    fields: dict[str, str] = outcome["fields"]
    return fields


def _convert(gguf: Path, folder: Path) -> dict[str, str]:
    """The work itself, in the child process."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    metadata, types = _read_header(gguf)
    # transformers reads the neighbours of a file too: tokenizer_config.json, adapter_config.json, code. Here are none.
    with tempfile.TemporaryDirectory(dir=folder, prefix="gguf-") as name:
        alone = Path(name) / "model.gguf"
        alone.symlink_to(gguf)
        try:
            tokenizer = build_tokenizer(alone, metadata)
            model, report = AutoModelForCausalLM.from_pretrained(
                str(alone.parent),
                gguf_file=alone.name,
                dtype=torch.float32,
                quantization_config=GgufConfig(dequantize=True),
                trust_remote_code=False,
                output_loading_info=True,
            )
        except ModelRefused as error:
            raise ModelRefused(f"{gguf.name}: {error.message}", hint=error.hint) from None
        except (ValueError, KeyError, NotImplementedError) as error:
            reason = printable_line(str(error), _METADATA_LIMIT)
            raise ModelRefused(f"transformers cannot load {gguf.name}: {reason}") from None
    if missing := sorted(report["missing_keys"]) or sorted(report["mismatched_keys"]):
        # transformers would fill them with random numbers and go on.
        raise ModelDamaged(f"{gguf.name} is damaged: it lacks {printable_line(str(missing[0]), 80)}.")
    _check_finite(model, gguf)
    model.to(_choose_dtype(model, types))
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    _shorten_floats(model.config)
    model.config.architectures = [type(model).__name__]
    generation = model.generation_config
    generation._from_model_config = False  # else transformers takes the file for one that nobody wrote
    generation.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder, max_shard_size=_SHARD)
    tokenizer.save_pretrained(folder)
    general = {key: str(value) for key, value in metadata.items() if key.startswith("general.")}
    return {key: value for key, value in general.items() if len(value) <= _METADATA_LIMIT}


def _read_header(gguf: Path) -> tuple[dict[str, Any], Counter[str]]:
    """The fields but for the long lists, and how many weights there are of each number format."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(gguf)
        fields = {}
        for name, field in reader.fields.items():
            if len(field.data) <= 1:
                fields[name] = field.contents()
        types: Counter[str] = Counter()
        for tensor in reader.tensors:
            types[tensor.tensor_type.name] += int(tensor.n_elements)
    except Exception as error:  # noqa: BLE001  whatever a damaged file makes the reader stumble over
        reason = printable_line(str(error), _METADATA_LIMIT)
        raise ModelDamaged(f"{gguf.name} is no sound GGUF file: {reason}") from None
    if not types:
        raise ModelRefused(f"{gguf.name} holds no weights.")
    return fields, types


def _check_finite(model: torch.nn.Module, gguf: Path) -> None:
    for name, weight in model.named_parameters():
        if not bool(weight.isfinite().all()):
            raise ModelDamaged(f"{gguf.name} is damaged: {printable_line(name, 80)} has values that are no numbers.")


def _choose_dtype(model: torch.nn.Module, types: Counter[str]) -> torch.dtype:
    import torch

    main = types.most_common(1)[0][0]
    if main in {"BF16", "F32"}:
        return torch.bfloat16 if main == "BF16" else torch.float32
    largest = max(float(weight.abs().max()) for weight in model.parameters())
    return torch.float16 if largest < torch.finfo(torch.float16).max else torch.float32


def _shorten_floats(config: Any) -> None:
    """GGUF keeps 1e-05 as a float32, which reads 9.999999747378752e-06 in Python; give back what the author wrote."""
    import numpy as np

    for name, value in vars(config).items():
        if isinstance(value, float) and float(np.float32(value)) == value:
            setattr(config, name, float(str(np.float32(value))))


def _die_with_parent() -> None:
    """Ends this process when its standard input closes, that is, when the parent is gone."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """`python -m chatbot.models.gguf_conversion FILE FOLDER`: prints one JSON object."""
    _die_with_parent()
    outcome: dict[str, Any]
    try:
        outcome = {"fields": _convert(Path(sys.argv[1]), Path(sys.argv[2]))}
    except ModelError as error:
        kind = "refused" if isinstance(error, ModelRefused) else "damaged"
        outcome = {"error": error.message, "hint": error.hint, "kind": kind}
    except OSError as error:
        outcome = {"error": f"The converted model cannot be written: {error.strerror or error}.", "kind": "disk"}
    except Exception:  # noqa: BLE001  a bug of ours: the parent shows its last line
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.write(json.dumps(outcome))
    sys.stdout.flush()
    os._exit(0)  # the thread that waits for the parent would hold up a normal exit


if __name__ == "__main__":
    main()
