"""The tokenizer of a GGUF file, rebuilt as a tokenizer.json.

transformers rebuilds it, but for what it does not know of llama.cpp's `tokenizer.ggml.pre` it silently takes GPT-2's
way to cut text into words. SmolLM2's vocabulary was made with every digit alone: cut as GPT-2 does, "12" would become
a token that the model met only by accident. The family that splits digits is mended here; a name that neither
transformers nor this table knows is refused, because a tokenizer that is a little wrong makes a model that is a little
stupid, and nobody sees why. (The names: `llama-vocab.cpp` of llama.cpp.) For SmolLM2-135M-Instruct the outcome was
compared with the tokenizer.json of its hub repository: written in the same layout it has the same sha256.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatbot.errors import ModelRefused
from chatbot.text import printable_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Each digit alone, then GPT-2's words.
_SINGLE_DIGITS = frozenset({"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"})
# GPT-2's words, which is what transformers takes for an unknown name.
_PLAIN = frozenset({"", "default", "gpt-2", "gpt2", "mpt", "olmo", "jais", "trillion", "granite-docling", "phi-2"})

_NAMED_TOKENS = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


def build_tokenizer(gguf: Path, metadata: dict[str, Any]) -> PreTrainedTokenizerBase:
    """`gguf` must lie alone in its folder, because transformers reads what lies beside it; `metadata` are its fields by
    name. Raises ModelRefused for a kind of tokenizer that cannot be rebuilt.
    """
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    kind = str(metadata.get("tokenizer.ggml.model", ""))
    cutting = str(metadata.get("tokenizer.ggml.pre", ""))
    if kind == "gpt2" and cutting not in _SINGLE_DIGITS | _PLAIN | _known_to_transformers():
        raise ModelRefused(
            f"it cuts text into words as {printable_line(cutting, 40)!r} does, which cannot be rebuilt here.",
            hint="Add the model from its hub repository instead.",
        )
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(gguf.parent), gguf_file=gguf.name, trust_remote_code=False
        )
    except Exception as error:
        reason = printable_line(str(error), 200)
        raise ModelRefused(f"its tokenizer cannot be rebuilt: {reason}") from error
    # What the file says, because transformers before 5.24 took the architecture's usual ones instead.
    for name, key in _NAMED_TOKENS.items():
        number = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(number, int) and (token := tokenizer.convert_ids_to_tokens(number)) is not None:
            setattr(tokenizer, name, token)
    if kind == "gpt2" and cutting in _SINGLE_DIGITS:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
            ]
        )
    return tokenizer


def _known_to_transformers() -> frozenset[str]:
    try:
        from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS
    except ImportError:
        return frozenset()  # before 5.24 transformers had no such table and cut every text as GPT-2 does

    return frozenset(GGUF_PRE_TOKENIZER_SPLITS)
