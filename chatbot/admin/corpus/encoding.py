"""Documents in the numbers of a tokenizer.json, whoever made it: each begins with <|endoftext|>."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chatbot.admin.corpus.folder import Document
from chatbot.errors import InvalidInput
from chatbot.text import printable_line

END = "<|endoftext|>"


class Encoder:
    """`end` is the id of <|endoftext|>, `unknown` that of what stands for a character that the vocabulary lacks, if it
    has such a token; every id is below `vocabulary`. Raises InvalidInput."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer: Any = Tokenizer.from_file(str(path))
        except Exception as error:  # its own errors are bare Exceptions  # noqa: BLE001
            raise InvalidInput(printable_line(f"{path} is no tokenizer: {error}.", 300)) from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        # What a text spells like a special token is text: nobody may end a document from inside it.
        self._tokenizer.encode_special_tokens = True
        end = self._tokenizer.token_to_id(END)
        if end is None:
            raise InvalidInput(f"{path} has no {END}, which parts documents.", hint="Train one on the corpus.")
        self.end = int(end)
        unknown = self._tokenizer.token_to_id(getattr(self._tokenizer.model, "unk_token", None) or "")
        self.unknown: int | None = None if unknown == end else unknown
        ids = self._tokenizer.get_vocab(with_added_tokens=True).values()
        self.vocabulary = max(max(ids) + 1, self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, documents: list[Document]) -> Iterator[list[int]]:
        """The ids of each document; without <|endoftext|> where it goes on from the one before."""
        texts = [document.text for document in documents]
        for document, encoding in zip(
            documents, self._tokenizer.encode_batch_fast(texts, add_special_tokens=False), strict=True
        ):
            yield encoding.ids if document.continues else [self.end, *encoding.ids]
