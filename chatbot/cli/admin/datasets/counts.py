"""What a version of a dataset holds, for scripts and for people: told by `build`, `show` and `import`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from chatbot.cli.logs.printing import count_of
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.admin.datasets.folder import DatasetFolder


def manifest_to_json(folder: DatasetFolder) -> dict[str, Any]:
    manifest = folder.manifest
    return {
        "name": manifest.name,
        "number": manifest.number,
        "kind": manifest.kind,
        "sha256": manifest.sha256,
        "path": folder.path,
        "model": manifest.model,
        "template_sha256": manifest.template_sha256,
        "tokenizer_sha256": manifest.tokenizer_sha256,
        "created": manifest.created,
        "counts": manifest.counts,
        "recipe": manifest.recipe,
    }


def describe_counts(counts: Mapping[str, Any]) -> Iterator[str]:
    """What a version holds, in lines for a person. Counts may come from a stranger's archive."""
    items, groups, replies = (_read(counts, name) for name in ("items", "groups", "replies"))
    for split in ("train", "validation", "test"):
        told = count_of(_number(items, split), "item")
        of = f"{count_of(_number(groups, split), 'group')}, {count_of(_number(replies, split), 'reply', 'replies')}"
        yield f"  {split:<11} {told:>12}  {of}"
    if items and not _number(items, "validation") + _number(items, "test"):
        yield f"  {'beware':<11} nothing is held out, so no evaluation can tell whether a model is better"
    if items and not _number(items, "train"):
        yield f"  {'beware':<11} nothing is left to train on"
    if tokens := _read(counts, "tokens"):
        lengths = ", ".join(f"{name} {_number(tokens, name):,}" for name in ("median", "p95", "max", "total"))
        yield f"  {'tokens':<11} {lengths}"
    for title, name in (("languages", "languages"), ("sources", "sources"), ("left out", "left_out")):
        if told := _list(_read(counts, name)):
            yield f"  {title:<11} {told}"
    if told := _list(_read(counts, "contradicted")):
        yield f"  {'look again':<11} {told}: such a reply carries no loss"
    if told := _list(_read(counts, "redacted")):
        yield f"  {'redacted':<11} {told}"
    cut = _read(counts, "split")
    if _number(cut, "too_long"):
        long = count_of(_number(cut, "too_long"), "item")
        yield f"  {'cut':<11} {long} longer than {_number(cut, 'max_tokens'):,} tokens"
    if _number(cut, "remembered"):
        yield f"  {'remembered':<11} {count_of(_number(cut, 'remembered'), 'group')} as in earlier versions"
    replay = _read(counts, "replay")
    taken, wanted, held = (_number(replay, name) for name in ("taken", "wanted", "held"))
    if taken or wanted or held:
        told = f"{taken:,} general rows in train" if taken >= wanted else f"only {taken:,} of {wanted:,} general rows"
        yield f"  {'replay':<11} {told}, {held:,} held out"
    if told := _list({f"{{{{{name}}}}}": count for name, count in _read(counts, "unfilled").items()}):
        yield f"  {'not filled':<11} {told}: give --fill"
    missed = [name for name, count in _read(counts, "filled").items() if not count]
    if missed:
        yield f"  {'fills':<11} nothing: {printable_line(', '.join(missed))}"
    if _number(counts, "replaces"):
        yield f"  {'made anew':<11} version {_number(counts, 'replaces')} holds the same, but its files are damaged"
    if _number(counts, "held_elsewhere"):
        leaks = count_of(_number(counts, "held_elsewhere"), "item")
        yield f"  {'beware':<11} {leaks} of train ask what other datasets here hold out"
    if isinstance(taught := counts.get("taught"), list) and taught:
        told = f"{count_of(len(taught), 'group')} held out are trained on by other versions here"
        yield f"  {'beware':<11} {told}, so no comparison asks them"
    if _number(counts, "struck"):
        yield f"  {'forgotten':<11} {count_of(_number(counts, 'struck'), 'item')}"


def _read(counts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = counts.get(name)
    return value if isinstance(value, Mapping) else {}


def _number(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    return value if isinstance(value, int) else 0


def _list(counts: Mapping[str, Any]) -> str:
    return printable_line(", ".join(f"{name} {_number(counts, name):,}" for name in counts if counts[name]), 400)
