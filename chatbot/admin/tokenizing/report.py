"""How well a tokenizer fits texts that it was not made from: bytes per token, language by language.

The more bytes a token stands for, the more text fits a model's window and a step of its training. The figure depends on
the language as much as on the tokenizer, so one number for all would say little; and it says nothing about whether a
model will learn well from these tokens, only how short it finds the text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from chatbot.admin.corpus.folder import Document
from chatbot.admin.datasets.statistics import find_language
from chatbot.admin.tokenizing.building import UNKNOWN

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BATCH = 256  # documents
_BATCH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Peer:
    """The tokenizer to compare with: that of the base model `name`."""

    name: str
    tokenizer: Tokenizer


class LanguageFigures(BaseModel):
    """What the texts of one language come to."""

    model_config = ConfigDict(frozen=True)

    language: str
    documents: int = Field(ge=0)
    text_bytes: int = Field(ge=0)
    """In UTF-8."""
    characters: int = Field(ge=0)
    tokens: int = Field(ge=0)
    unknown: int = Field(0, ge=0)
    """Characters that the vocabulary lacks; 0 of a byte-level one."""
    base_tokens: int | None = None

    @property
    def bytes_per_token(self) -> float:
        return self.text_bytes / max(self.tokens, 1)

    @property
    def base_bytes_per_token(self) -> float | None:
        return None if self.base_tokens is None else self.text_bytes / max(self.base_tokens, 1)

    @property
    def unknown_share(self) -> float:
        """Of the characters."""
        return self.unknown / max(self.characters, 1)


class TokenizerReport(BaseModel):
    """The figures on the held-out part of a corpus. Without a base model, or held-out documents, there are none."""

    model_config = ConfigDict(frozen=True)

    base: str = ""
    base_vocabulary: int = Field(0, ge=0)
    languages: tuple[LanguageFigures, ...] = ()
    """The one with the most bytes first."""

    @property
    def total(self) -> LanguageFigures:
        return _add_up("all", self.languages)


def measure(
    tokenizer: Tokenizer,
    documents: Iterable[Document],
    peer: Peer | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> TokenizerReport:
    """The report on `documents`, which are read once, a batch at a time; `on_progress` hears how many are done.

    A document that says no language is given one by its script.
    """
    unknown = tokenizer.token_to_id(UNKNOWN)
    found: dict[str, list[LanguageFigures]] = defaultdict(list)
    done = 0
    for batch in _batch(documents):
        texts = [clean(document.text) for document in batch]
        ours = _encode(tokenizer, texts)
        theirs = _encode(peer.tokenizer, texts) if peer else [None] * len(texts)
        for document, text, ids, base in zip(batch, texts, ours, theirs, strict=True):
            language = document.language or find_language(text)
            one = LanguageFigures(
                language=language,
                documents=1,
                text_bytes=len(text.encode()),
                characters=len(text),
                tokens=len(ids or ()),
                unknown=0 if unknown is None else (ids or []).count(unknown),
                base_tokens=None if base is None else len(base),
            )
            found[language] = [_add_up(language, [*found[language], one])]
        done += len(batch)
        on_progress(done)
    languages = sorted(
        (one for ones in found.values() for one in ones), key=lambda one: (-one.text_bytes, one.language)
    )
    return TokenizerReport(
        base=peer.name if peer else "",
        base_vocabulary=peer.tokenizer.get_vocab_size() if peer else 0,
        languages=tuple(languages),
    )


def clean(text: str) -> str:
    """`text` without halves of surrogate pairs, which are no characters: the library takes none."""
    return text.encode("utf-8", "replace").decode()


def _encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int] | None]:
    """The ids of each text, in which `<|im_end|>` is five signs like others and no end of anything."""
    tokenizer.encode_special_tokens = True
    return [found.ids for found in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def _batch(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if len(batch) == _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _add_up(language: str, figures: Iterable[LanguageFigures]) -> LanguageFigures:
    ones = list(figures)
    bases = [one.base_tokens for one in ones if one.base_tokens is not None]
    return LanguageFigures(
        language=language,
        documents=sum(one.documents for one in ones),
        text_bytes=sum(one.text_bytes for one in ones),
        characters=sum(one.characters for one in ones),
        tokens=sum(one.tokens for one in ones),
        unknown=sum(one.unknown for one in ones),
        base_tokens=sum(bases) if bases else None,
    )
