"""What a stranger's model folder must be before it is taken in.

A model is data: numbers in safetensors, a tokenizer, a configuration. Pickles run code when they are read, and
`auto_map` names Python files that would be run, so both are refused by name. The rest is looked at closely enough that
what the engine loads later is what it should be.
"""

from __future__ import annotations

import json
import re
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatbot.errors import ModelDamaged, ModelError, ModelRefused
from chatbot.models.template import ChatMessage, ChatTemplate, find_template_source
from chatbot.text import printable_line

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
_WEIGHTS = re.compile(r"model(-\d{1,5}-of-\d{1,5})?\.safetensors")
_OTHERS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.(json|jinja|txt)|tokenizer\.model")
_INDEX = "model.safetensors.index.json"
_MAX_JSON = 256 << 20  # bytes; the largest tokenizer.json in use has about 35 MB
_UNKNOWN_WINDOW = 2048


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a folder was found to hold."""

    architecture: str
    dtype: str
    parameters: int
    context: int
    template_sha256: str


def choose_files(names: list[str], where: str) -> list[str]:
    """Those of a repository's or folder's file names that make up the model, the weights last.

    Raises ModelRefused naming the reason.
    """
    weights = sorted(name for name in names if _WEIGHTS.fullmatch(name))
    if "model.safetensors" in weights:
        weights = ["model.safetensors"]
    if not weights:
        if pickles := sorted(name for name in names if name.lower().endswith(PICKLES)):
            raise ModelRefused(
                f"{where} has its weights only as a pickle ({printable_line(pickles[0], 80)}), which can run any code.",
                hint="Look for a version of the model with safetensors.",
            )
        raise ModelRefused(f"{where} has no model.safetensors.")
    if "config.json" not in names:
        raise ModelRefused(f"{where} has no config.json.")
    left_out = {"manifest.json", "model.safetensors.index.json" if weights == ["model.safetensors"] else ""}
    others = sorted(name for name in names if _OTHERS.fullmatch(name) and name not in left_out)
    return others + weights


def inspect_folder(folder: Path) -> Inspection:
    """Checks the model in `folder`, and makes tokenizer.json and chat_template.jinja from what there is if need be.

    Raises ModelRefused or ModelDamaged naming the file. Imports transformers, which takes seconds.
    """
    for path in folder.iterdir():
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ModelRefused(f"{printable_line(path.name, 80)} is no plain file.")
        if path.name.lower().endswith(PICKLES):
            raise ModelRefused(f"{printable_line(path.name, 80)} is a pickle, which can run any code.")
    architecture = inspect_settings(folder)
    stored, dtype = _check_weights(folder)
    config = _load_config(folder)
    parameters = _check_count(config, stored)
    _complete_tokenizer(folder)
    template = ChatTemplate.load(folder)
    _check_tokenizer(template, _read_object(folder / "config.json"))
    try:
        template.encode([ChatMessage("user", "?")])
    except ModelError as error:
        raise ModelRefused(f"Its chat template cannot be used: {error.message}") from None
    return Inspection(architecture, dtype, parameters, _find_window(config), template.sha256)


def inspect_settings(folder: Path) -> str:
    """The architecture. Needs no weights, so it can be asked before they are downloaded. Raises as inspect_folder."""
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        if (folder / name).exists():
            _refuse_code(_read_object(folder / name), name)
    return _check_architecture(_read_object(folder / "config.json"))


def _refuse_code(settings: dict[str, Any], name: str) -> None:
    for key in ("auto_map", "custom_pipelines", "custom_generate"):
        if settings.get(key):
            named = settings[key]
            code = next(iter(named.values()), named) if isinstance(named, dict) else named
            raise ModelRefused(
                f"{name} asks for the model's own code ({key}: {printable_line(str(code), 80)}), which is never run.",
                hint="Look for a version that transformers knows by itself.",
            )


def _check_architecture(config: dict[str, Any]) -> str:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ModelRefused(
            f"config.json: {printable_line(repr(kind), 60)} is no causal language model that transformers knows."
        )
    known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind]
    names = {known} if isinstance(known, str) else set(known)
    listed = config.get("architectures") or []
    if not listed:
        return min(names)
    for name in listed:
        if name in names:
            return str(name)
    raise ModelRefused(
        f"config.json: {printable_line(str(listed[0]), 60)} writes no text as a causal language model does.",
        hint=f"Of its kind, {', '.join(sorted(names))} does.",
    )


def _check_weights(folder: Path) -> tuple[int, str]:
    """The number of parameters and the number format of most. Opening a file checks its header, sizes and offsets."""
    from safetensors import SafetensorError, safe_open

    paths = sorted(path for path in folder.iterdir() if _WEIGHTS.fullmatch(path.name))
    if not paths:
        raise ModelRefused("There is no model.safetensors.")
    place: dict[str, str] = {}
    types: Counter[str] = Counter()
    for path in paths:
        try:
            with safe_open(path, framework="np") as file:
                for name in file.keys():  # noqa: SIM118  not a dict
                    part = file.get_slice(name)
                    count = 1
                    for length in part.get_shape():
                        count *= length
                    types[str(part.get_dtype())] += count
                    place[name] = path.name
        except (SafetensorError, OSError) as error:
            raise ModelDamaged(f"{path.name} is damaged: {printable_line(str(error), 200)}.") from None
    if len(paths) > 1:
        listed = _read_object(folder / _INDEX).get("weight_map") if (folder / _INDEX).exists() else None
        if not isinstance(listed, dict) or listed != place:
            raise ModelDamaged(f"{_INDEX} is missing or does not name the weights that are there.")
    if not types.total():
        raise ModelDamaged(f"{paths[0].name} holds no weights.")
    return types.total(), types.most_common(1)[0][0]


def _load_config(folder: Path) -> PreTrainedConfig:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except Exception as error:  # noqa: BLE001  its validators raise many kinds
        raise ModelDamaged(f"config.json cannot be used: {printable_line(str(error), 200)}") from None


def _check_count(config: PreTrainedConfig, stored: int) -> int:
    """The number of parameters that the model has. Fewer stored ones would be filled with random numbers in silence.

    Only the count is compared: older files name their weights otherwise, and transformers knows how.
    """
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):  # shapes without numbers
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001  whatever sizes that do not fit together make a model's constructor raise
        raise ModelDamaged(f"config.json describes no model: {printable_line(str(error), 200)}") from None
    needed: int = sum(parameter.numel() for parameter in model.parameters())
    if stored < needed and not hasattr(config, "quantization_config"):  # packed numbers count otherwise
        raise ModelDamaged(f"The weights are not whole: {stored:,} numbers are there, {needed:,} are needed.")
    return needed


def _find_window(config: PreTrainedConfig) -> int:
    for name in ("max_position_embeddings", "max_sequence_length", "seq_length", "max_seq_len"):
        value = getattr(config.get_text_config(), name, None)
        if isinstance(value, int) and value > 0:
            return value
    return _UNKNOWN_WINDOW  # a recurrent model, or one that does not say


def _complete_tokenizer(folder: Path) -> None:
    settings_path = folder / "tokenizer_config.json"
    settings = _read_object(settings_path) if settings_path.exists() else {}
    source = find_template_source(folder, settings)
    if source and not (folder / "chat_template.jinja").exists():
        (folder / "chat_template.jinja").write_text(source, "utf-8", newline="")
    if (folder / "tokenizer.json").exists():
        return
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    except Exception as error:  # noqa: BLE001  each kind of tokenizer fails in its own way
        reason = printable_line(str(error), 200)
        raise ModelRefused(f"There is no tokenizer.json, and none can be made: {reason}") from None


def _check_tokenizer(template: ChatTemplate, config: dict[str, Any]) -> None:
    text = config.get("text_config")
    size = config.get("vocab_size") or (text.get("vocab_size") if isinstance(text, dict) else None)
    largest = max(template.tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if isinstance(size, int) and largest >= size:
        raise ModelDamaged(
            f"tokenizer.json has token {largest}, but the model knows {size} tokens: they do not belong together."
        )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON:
            raise ModelRefused(f"{path.name} is unreasonably large.")
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelRefused(f"There is no {path.name}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelDamaged(f"{path.name} is damaged: {printable_line(str(error), 200)}.") from None
    if not isinstance(content, dict):
        raise ModelDamaged(f"{path.name} is damaged: it is no JSON object.")
    return content
