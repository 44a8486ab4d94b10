"""Tiny models with random weights, built on the spot: real architectures, real files, milliseconds a step.

And the server on real sockets in the test's own event loop, over whatever engine a test hands in.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn

from chatbot.config import EngineSettings
from chatbot.engine.protocol import Engine
from chatbot.engine.server import build_application
from chatbot.engine.torch_engine import TorchEngine
from chatbot.files import hash_file
from chatbot.models.library import ModelLibrary
from chatbot.models.manifest import FileRecord, Manifest
from chatbot.models.template import find_template_source

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXTS = ["The sky is blue because the air scatters light. " * 8, "天空是蓝色的，因为空气散射光。" * 8, "😀👩‍💻🇨🇳" * 4]


def build_tokenizer(folder: Path) -> int:
    """A byte-level BPE tokenizer, trained on a few lines: Chinese and emoji take several tokens a character."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", bos_token="<|endoftext|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return int(tokenizer.get_vocab_size())


def build_model(folder: Path, kind: str = "llama", *, context: int = 512, width: int = 64, layers: int = 3) -> Path:
    """A model folder with a manifest. `kind`: llama, gpt2, qwen2, or mistral (a sliding window of 48 tokens)."""
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig, Qwen2Config

    folder.mkdir(parents=True)
    size = build_tokenizer(folder)
    ends = {"eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 0}
    shape: dict[str, Any] = {
        "vocab_size": size,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": context,
        **ends,
    }
    config: Any = {
        "llama": lambda: LlamaConfig(**shape),
        "qwen2": lambda: Qwen2Config(**shape),
        "mistral": lambda: MistralConfig(**shape, sliding_window=48),
        "gpt2": lambda: GPT2Config(
            vocab_size=size, n_embd=width, n_layer=layers, n_head=4, n_positions=context, **ends
        ),
    }[kind]()
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config)
    # Random weights of the usual size give nearly flat logits, where every token ties; sharper ones tell mistakes.
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.4 if "emb" in name or "wte" in name else 0.15)
    model.save_pretrained(folder)
    write_manifest(folder, context)
    return folder


def write_manifest(folder: Path, context: int) -> None:
    import hashlib

    template = find_template_source(folder, {})
    files = [
        FileRecord(path=path.name, size=path.stat().st_size, sha256=hash_file(path))
        for path in sorted(folder.iterdir())
        if path.name != "manifest.json"
    ]
    manifest = Manifest(
        name=folder.name,
        source="folder:tests",
        architecture="LlamaForCausalLM",
        dtype="float32",
        parameters=1,
        context=context,
        template_sha256=hashlib.sha256(template.encode()).hexdigest(),
        created=datetime.now(UTC).isoformat(),
        files=tuple(files),
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """The two functions above, for tests that make a model of their own."""
    return SimpleNamespace(build_model=build_model, write_manifest=write_manifest)


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with one tiny model of each kind; they are read, never changed."""
    library = tmp_path_factory.mktemp("models")
    for kind in ("llama", "gpt2", "qwen2", "mistral"):
        build_model(library / kind, kind)
    return library


@pytest.fixture
async def start_engine(tiny_models: Path) -> AsyncGenerator[Callable[..., TorchEngine], None]:
    """Makes torch engines over the tiny models, with settings as keywords, and closes them."""
    engines: list[TorchEngine] = []

    def start(library: Path | ModelLibrary = tiny_models, **settings: Any) -> TorchEngine:
        chosen = EngineSettings(**{"device": "cpu", "threads": 1, **settings})
        engines.append(TorchEngine(library if isinstance(library, ModelLibrary) else ModelLibrary(library), chosen))
        return engines[-1]

    yield start
    for engine in engines:
        await engine.close()


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncGenerator[Callable[..., Awaitable[str]], None]:
    """Serves an engine; gives the URL of a TCP port on the loopback, or the path of a Unix socket with `unix=True`."""
    running: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []

    async def start(engine: Engine, *, unix: bool = False, **options: Any) -> str:
        family = socket.AF_UNIX if unix else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        path = tmp_path / f"{len(running)}.sock"
        listener.bind(str(path) if unix else ("127.0.0.1", 0))
        listener.listen()
        application = build_application(engine, **options)
        config = uvicorn.Config(application, http="h11", ws="none", lifespan="off", log_level="error")
        config.timeout_graceful_shutdown = 1
        server = uvicorn.Server(config)
        running.append((server, asyncio.create_task(server.serve([listener]))))
        return str(path) if unix else f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for server, task in running:
        server.should_exit = True
        await task


@pytest.fixture
async def web() -> AsyncGenerator[httpx.AsyncClient, None]:
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        yield client
