"""Texts of which no two are alike, small files of each kind, and a tokenizer made on the spot."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_SYLLABLES = ("ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "wu", "zen", "mar")


def make_text(seed: int, characters: int = 1500) -> str:
    """Paragraphs of invented words."""
    chance = random.Random(seed)
    sentences: list[str] = []
    size = 0
    while size < characters:
        words = ["".join(chance.choices(_SYLLABLES, k=chance.randint(1, 3))) for _ in range(chance.randint(5, 12))]
        sentence = " ".join(words).capitalize() + "."
        sentences.append(sentence)
        size += len(sentence) + 1
    paragraphs = [" ".join(sentences[at : at + 5]) for at in range(0, len(sentences), 5)]
    return "\n\n".join(paragraphs)


def write_lines(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


CONTAINER = """<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">
<rootfiles><rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
PACKAGE = """<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:language>en-GB</dc:language>
<dc:rights>CC BY 4.0</dc:rights></metadata><manifest>%s</manifest><spine>%s</spine></package>"""


def make_epub(pages: Mapping[str, str], more: Mapping[str, str] | None = None) -> bytes:
    """A book whose spine is `pages` in reverse order of their writing into the ZIP."""
    names = list(pages)
    items = "".join(f'<item id="i{n}" href="{one}" media-type="application/xhtml+xml"/>' for n, one in enumerate(names))
    order = "".join(f'<itemref idref="i{n}"/>' for n in range(len(names)))
    files = {f"OEBPS/{name}": pages[name] for name in reversed(names)}
    files |= {"META-INF/container.xml": CONTAINER, "OEBPS/book.opf": PACKAGE % (items, order), **(more or {})}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


def make_pdf(*texts: str) -> bytes:
    """A page for each text, which is ASCII without brackets."""
    count = len(texts)
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(count))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for n, text in enumerate(texts):
        content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * n} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        ]
    data = b"%PDF-1.4\n"
    places = []
    for number, one in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{one}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    end += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF\n"
    return data + end.encode()


def make_tokenizer(path: Path, *, characters: bool = False) -> Path:
    """A tokenizer.json: bytes and some merges, or one token for each character."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    if characters:
        signs = sorted(set(make_text(0) + "<|>_ "))
        known = {one: n for n, one in enumerate([*special, "<|unknown|>", *signs])}
        tokenizer = Tokenizer(models.WordLevel(known, unk_token="<|unknown|>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
        tokenizer.add_special_tokens([AddedToken(one, special=True) for one in special])
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator([make_text(n) for n in range(5)], trainer)
    tokenizer.save(str(path))
    return path
