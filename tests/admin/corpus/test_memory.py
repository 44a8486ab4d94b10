"""That a corpus larger than the memory works, shown with a limit that the kernel keeps.

The limit is on all memory that a process asks for (RLIMIT_DATA: heap and private maps, but not files that are mapped
for reading). It is set once the libraries are loaded, above what they took; the corpus is larger than all of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.admin.corpus.samples import make_text

_ROOM = 40 << 20
_SIZE = 160 << 20

_LIMITED = """
import json, resource, sys
from pathlib import Path

import tokenizers, zstandard
from chatbot.admin.corpus.building import build
from chatbot.admin.corpus.request import CorpusRequest
from chatbot.admin.corpus.tokens import tokenize
from chatbot.config import find_home
from chatbot.store.database import Store

path, tokenizer, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
with Store.in_memory() as store:
    taken = int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (taken + limit, taken + limit))
    corpus = build(store, find_home(), CorpusRequest("large", (path,), raw=True))
tokens = tokenize(corpus, tokenizer)
counts = {split: len(tokens.tokens(split)) for split in ("train", "validation")}
stream = tokens.tokens("train")
print(json.dumps({
    "limit": taken + limit,
    "bytes": corpus.manifest.counts["bytes"],
    "tokens": counts,
    "seen": sorted({int(one) for at in range(0, len(stream), 1 << 20) for one in stream.window(at, 1)}),
}))
try:
    path.read_bytes()
except MemoryError:
    print("limited")
"""


def write_large(path: Path, size: int) -> None:
    """One document without an end."""
    block = make_text(1, 1 << 16)
    with path.open("w") as file:
        for number in range(size // len(block)):
            file.write(f"{number} {block}\n\n")


def make_fast_tokenizer(path: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"<|endoftext|>": 0, "<|unknown|>": 1}, unk_token="<|unknown|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(path))
    return path


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_corpus_larger_than_the_memory_is_built_and_tokenized(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    write_large(path, _SIZE)
    tokenizer = make_fast_tokenizer(tmp_path / "tokenizer.json")
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(path), str(tokenizer), str(_ROOM)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    line, limited = done.stdout.splitlines()
    told: dict[str, Any] = json.loads(line)
    size = path.stat().st_size
    assert sum(told["bytes"].values()) == size > told["limit"]
    assert sum(told["tokens"].values()) > size / 12
    assert limited == "limited"
