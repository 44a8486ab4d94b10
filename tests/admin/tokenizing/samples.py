"""A small corpus, written as the product writes one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chatbot.admin.corpus.folder import MANIFEST, CorpusFolder, CorpusManifest, Document, RowWriter, Split, locate

ENGLISH = [
    "The quick brown fox jumps over the lazy dog, and 12 rivers run to the sea in 1859.",
    "It was the best of times, it was the worst of times, it was the age of wisdom.",
    "def add(a, b):\n    return a + b  # 42\n",
    "They're here; we'll see what the others say, and the rest of them too.",
]
CHINESE = ["你好，世界。今天天气很好，我们去公园。", "今天天气不好，我们不去公园，我们在家看书。"]
TRAINING = [*ENGLISH, *CHINESE] * 3
HELD_OUT = ["The best of the rivers run over the fox.", "我们今天去看世界。", "She said: “你好!” 🎉"]


def make_corpus(
    folder: Path, training: Sequence[str | Document] = TRAINING, held_out: Sequence[str | Document] = HELD_OUT
) -> CorpusFolder:
    folder.mkdir(parents=True)
    parts: dict[Split, Sequence[str | Document]] = {"train": training, "validation": held_out}
    files = {}
    for split, rows in parts.items():
        with RowWriter(locate(folder, split)) as writer:
            for row in rows:
                writer.write(row if isinstance(row, Document) else Document(row, "test"))
            files[split] = writer.close()
    manifest = CorpusManifest(
        name="novels", number=1, recipe={}, counts={}, created="2026-01-01T00:00:00+00:00", files=files
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(), "utf-8")
    return CorpusFolder.open(folder)
