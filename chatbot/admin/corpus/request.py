"""What a corpus is asked to be. It is kept in the manifest as the recipe, so that it can be asked for again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from chatbot.admin.datasets.request import check_name
from chatbot.errors import InvalidInput
from chatbot.text import printable_line, storable

Unit = Literal["auto", "document", "section"]
"""What is held out as a whole; auto takes sections where there are too few documents to hold some out."""


@dataclass(frozen=True, slots=True)
class CorpusRequest:
    """Raises InvalidInput for what makes no sense."""

    name: str
    paths: tuple[Path, ...] = ()
    """Files, and folders with all files below them."""
    from_logs: bool = False
    """What was approved in the log, too."""
    holdout: float = 0.01
    """The share that is for validation."""
    unit: Unit = "auto"
    split_at: float = 0.0
    """Of each document so much, from its beginning, is train and the rest validation; 0 holds out by `unit`."""
    raw: bool = False
    """Take the text as it is: nothing cleaned, filtered or removed."""
    quality: bool = True
    """Whether the quality rules are applied."""
    min_characters: int = 1
    keep_duplicates: bool = False
    near: float = 0.8
    """From this similarity (Jaccard) on one of two texts is removed; above 1 only exact copies go."""
    languages: tuple[str, ...] = ()
    """ISO 639-1 codes; none keeps all."""
    licence: str = ""
    """Of everything in `paths`; empty takes what the files say."""
    field: str = "text"
    """Where the text stands in lines of JSON."""
    encoding: str = ""
    """Of the text files; empty takes UTF-8, UTF-16 and UTF-32 for what they are and detects others."""
    redact: bool = True
    """Mask personal data in what comes from the log."""
    names: tuple[str, ...] = ()
    """Names of people that a redaction masks."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if not self.paths and not self.from_logs:
            raise InvalidInput("There is nothing to build from.", hint="Give --from PATH, or --from-logs.")
        if not 0 <= self.holdout < 1 or not 0 <= self.split_at < 1:
            raise InvalidInput("The held-out share is at least 0 and below 1.", hint="Such as --holdout 0.01.")
        if self.unit not in get_args(Unit):
            raise InvalidInput(f"The unit is one of {', '.join(get_args(Unit))}.")
        if self.split_at and not self.raw:
            raise InvalidInput("A split at a place is exact only in raw text.", hint="Give --raw with --split-at.")
        if self.raw and self.languages:
            raise InvalidInput("Raw text is not filtered by language.", hint="Leave out --raw or --language.")
        if self.near <= 0 or self.min_characters < 0:
            raise InvalidInput("A similarity is above 0, and a number of characters not below.")
        for code in self.languages:
            if not (code.isascii() and code.isalpha() and 2 <= len(code) <= 3 and code.islower()):
                raise InvalidInput(f"{printable_line(code, 20)!r} is no language code.", hint="Such as en, de or zh.")
        if self.encoding:
            _check_encoding(self.encoding)
        if not self.field or storable(self.licence) != self.licence:
            raise InvalidInput("A field has a name, and a licence is text.")

    @property
    def recipe(self) -> dict[str, Any]:
        """As JSON. Files are named without their folders; people's names are counted, not told."""
        told = asdict(self)
        told["paths"] = [storable(path.name) for path in self.paths]
        told["names"] = len(self.names)
        told["languages"] = list(self.languages)
        return told


def _check_encoding(name: str) -> None:
    import codecs

    try:
        about = codecs.lookup(name)
    except (LookupError, ValueError):
        about = None
    if about is None or not about._is_text_encoding:
        raise InvalidInput(f"{printable_line(name, 40)!r} is no encoding.", hint="Such as latin-1 or gb18030.")
