"""What a corpus holds, in lines for a person and as JSON. Anyone may have changed the counts: nothing is believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from chatbot.cli.logs.printing import count_of, fit
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.admin.corpus.folder import CorpusFolder

_SHOWN = 8  # sources, files


def show_size(size: int) -> str:
    """Bytes for a person: `3.8 MB`."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"


def describe_counts(counts: Mapping[str, Any]) -> Iterator[str]:
    """What a version holds, in lines for a person."""
    read = read_map(counts, "read")
    came = f"{count_of(read_number(read, 'files'), 'file')}, {count_of(read_number(read, 'documents'), 'document')}"
    yield f"  {'read':<11} {came}, {show_size(read_number(read, 'bytes'))}"
    if told := _list(read_map(read, "encodings")):
        yield f"  {'decoded':<11} {told}"
    if told := _list(read_map(read, "passed_over")):
        yield f"  {'passed over':<11} {told}"
    if gutenberg := read_number(counts, "gutenberg"):
        yield f"  {'cleaned':<11} licence of Project Gutenberg taken off {count_of(gutenberg, 'document')}"
    for name, dropped in read_map(counts, "dropped").items():
        parts, characters = read_number(dropped, "parts"), read_number(dropped, "characters")
        yield f"  {'dropped':<11} {fit(name, 26)} {count_of(parts, 'text')}, {count_of(characters, 'character')}"
    if told := _list(read_map(counts, "left_out")):
        yield f"  {'left out':<11} {told}"
    if told := _list(read_map(counts, "redacted")):
        yield f"  {'redacted':<11} {told}"
    sizes = {split: read_number(read_map(counts, "bytes"), split) for split in ("train", "validation")}
    for split, size in sizes.items():
        rows, characters = (
            read_number(read_map(counts, "rows"), split),
            read_number(read_map(counts, "characters"), split),
        )
        share = f"  {size / max(sum(sizes.values()), 1):.1%}"
        yield f"  {split:<11} {count_of(rows, 'text')}, {count_of(characters, 'character')}, {show_size(size)}{share}"
    if counts.get("unit") == "section":
        reason = ", because there are too few documents to hold out whole ones" if counts.get("few_documents") else ""
        yield f"  {'held out':<11} by section{reason}"
    if not sizes["validation"]:
        yield f"  {'held out':<11} nothing: training cannot tell how well the model does on text it has not seen"
    for title, name in (("languages", "languages"), ("licences", "licences")):
        if told := _list(read_map(counts, name)):
            yield f"  {title:<11} {told}"
    sources = read_map(counts, "sources")
    for name in list(sources)[:_SHOWN]:
        documents, characters = (read_number(sources[name], one) for one in ("documents", "characters"))
        told = f"{count_of(documents, 'document')}, {count_of(characters, 'character')}"
        yield f"  {'source':<11} {printable_line(name, 60)}: {told}"
    if len(sources) > _SHOWN:
        yield f"  {'source':<11} …and {len(sources) - _SHOWN:,} more"
    if read_number(counts, "struck"):
        yield f"  {'forgotten':<11} {count_of(read_number(counts, 'struck'), 'document')}"


def list_passed_over(counts: Mapping[str, Any]) -> Iterator[str]:
    """What could not be read, by name, as far as it is kept."""
    read = read_map(counts, "read")
    named = read.get("named")
    names = [one for one in named if isinstance(one, str)] if isinstance(named, list) else []
    for one in names[:_SHOWN]:
        yield f"Passed over: {one}"
    if (
        total := sum(read_number(read_map(read, "passed_over"), reason) for reason in read_map(read, "passed_over"))
    ) > _SHOWN:
        yield f"Passed over: {total - min(len(names), _SHOWN):,} more; --json names the first 50."


def manifest_to_json(folder: CorpusFolder) -> dict[str, Any]:
    manifest = folder.manifest
    return {
        "name": manifest.name,
        "number": manifest.number,
        "sha256": manifest.sha256,
        "path": folder.path,
        "created": manifest.created,
        "files": {split: record.model_dump() for split, record in manifest.files.items()},
        "counts": manifest.counts,
        "recipe": manifest.recipe,
    }


def read_map(counts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = counts.get(name)
    return value if isinstance(value, Mapping) else {}


def read_number(counts: Any, name: str) -> int:
    value = counts.get(name) if isinstance(counts, Mapping) else None
    return value if isinstance(value, int) else 0


def _list(counts: Mapping[str, Any]) -> str:
    return printable_line(", ".join(f"{name} {read_number(counts, name):,}" for name in counts if counts[name]), 400)
