"""`chatbot admin dataset list`, `diff` and `delete`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatbot.cli.logs.finding import Log, open_log
from chatbot.cli.logs.options import AsJson, Limit, Yes
from chatbot.cli.logs.printing import confirm, count_of, find_width, fit, lay_out, print_json, print_text, tell
from chatbot.cli.logs.times import show_day
from chatbot.errors import InvalidInput
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.admin.datasets.comparing import Difference, Placed
    from chatbot.store.datasets import DatasetVersion

_SPLITS = ("train", "validation", "test")


def list_datasets(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Only this dataset.", show_default=False)] = "",
    as_json: AsJson = False,
) -> None:
    """Lists the versions of all datasets, or of one.

    Examples:

    \b
      chatbot admin dataset list
      chatbot admin dataset list talks --json | jq '.[-1].sha256'
    """
    from chatbot.admin.datasets.request import check_name

    with open_log() as log:
        found = log.store.datasets.versions(check_name(name) if name else None)
        versions = [one for one in found if one.kind != "text"]  # those are corpora
        told = [_to_json(log, version) for version in versions]
    if as_json:
        print_json(told)
        return
    if not told:
        tell("There are no datasets yet: `chatbot admin dataset build NAME` makes one.")
        return
    rows = [
        [
            f"{one['name']}/{one['number']}",
            one["kind"],
            *(f"{one['items'].get(split, 0):,}" for split in _SPLITS),
            show_day(version.created),
            one["sha256"][:12],
            ", ".join([*one["problems"], *(["trained on"] if one["runs"] else [])]),
        ]
        for one, version in zip(told, versions, strict=True)
    ]
    titles = ["DATASET", "KIND", "TRAIN", "VALID", "TEST", "MADE", "SHA256", ""]
    print_text("\n".join(lay_out(titles, rows, flexible=0, right=[2, 3, 4])))


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="NAME/NUMBER, or NAME for its newest version.")],
    after: Annotated[str, typer.Argument(metavar="B")],
    limit: Limit = 5,
    as_json: AsJson = False,
) -> None:
    """Tells what lies between two versions: items added, removed, changed, moved to another split.

    Examples:

    \b
      chatbot admin dataset diff talks/1 talks/2
      chatbot admin dataset diff talks/1 talks --json | jq .counts
    """
    from chatbot.admin.datasets.comparing import diff as compare
    from chatbot.admin.datasets.freezing import open_version

    with open_log() as log:
        (_, first), (_, second) = (open_version(log.store, log.home, title) for title in (before, after))
        found = compare(first, second)
    if as_json:
        print_json(_difference_to_json(found, limit))
        return
    print_text("\n".join(_describe(found, limit)))


def delete(
    titles: Annotated[list[str], typer.Argument(metavar="NAME/NUMBER", help="Versions, each with its number.")],
    force: Annotated[bool, typer.Option("--force", help="Also what a run has used.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Deletes the files of versions, whole or damaged.

    What a deleted version held out stays held out. If a run used it, the run still tells which messages it learnt, but
    its model cannot be evaluated on this dataset any more; that takes --force.

    Examples:

    \b
      chatbot admin dataset delete talks/1
      chatbot admin dataset delete talks/2 --force
    """
    from chatbot.admin.datasets.freezing import delete_version
    from chatbot.admin.datasets.request import parse_title

    with open_log() as log:
        chosen = []
        for title in dict.fromkeys(titles):
            name, number = parse_title(title)
            if number is None:
                raise typer.BadParameter(f"Which version of {name}? Such as {name}/1.")
            found = log.store.datasets.find(name, number)
            if found.kind == "text":
                raise InvalidInput(
                    f"{found.title} is a corpus.", hint=f"`chatbot admin corpus delete {found.title}` deletes it."
                )
            chosen.append(found)
        used = [told for one in chosen if (told := _describe_use(log, one))]
        if used and not force:
            raise InvalidInput(" ".join(used), hint="--force deletes it all the same.")
        question = f"Delete {', '.join(one.title for one in chosen)}? Nothing brings it back."
        confirm(" ".join([*used, question]), yes=yes)
        for version in chosen:
            delete_version(log.store, log.home, version, force=force)
    if as_json:
        print_json([one.title for one in chosen])
        return
    print_text("\n".join(f"{one.title} is deleted." for one in chosen))


def _describe_use(log: Log, version: DatasetVersion) -> str:
    """Which runs and models depend on a version; empty if none does."""
    runs, models = log.store.datasets.runs(version.id), log.store.datasets.models(version.id)
    if not runs:
        return ""
    came = f"; of them came {printable_line(', '.join(models), 200)}" if models else ""
    return (
        f"{version.title} was used by {count_of(len(runs), 'run')} ({', '.join(one[:18] for one in runs[:3])}){came}."
    )


def _to_json(log: Log, version: DatasetVersion) -> dict[str, Any]:
    from chatbot.admin.datasets.folder import read_manifest
    from chatbot.admin.datasets.freezing import version_folder
    from chatbot.errors import DatasetDamaged

    path = version_folder(log.home, version)
    problems = []
    items: dict[str, int] = {}
    try:
        manifest = read_manifest(path)
        items = {split: manifest.files[split].rows for split in manifest.files}
        if manifest.sha256 != version.sha256:
            problems.append("differs from the database")
    except DatasetDamaged:
        problems.append("damaged" if path.is_dir() else "its files are gone")
    struck = version.counts.get("struck")
    if isinstance(struck, int) and struck:
        problems.append(f"{struck:,} forgotten")
    return {
        "name": version.name,
        "number": version.number,
        "kind": version.kind,
        "items": items,
        "sha256": version.sha256,
        "path": path,
        "created": version.created,
        "runs": log.store.datasets.runs(version.id),
        "problems": problems,
    }


def _describe(found: Difference, limit: int) -> Iterator[str]:
    yield f"{count_of(found.same, 'item')} in both."
    if found.is_empty:
        return
    for title, placed in (("added", found.added), ("removed", found.removed)):
        yield from _list(title, [(one.split, one) for one in placed], limit)
    for title, pairs in (("changed", found.changed), ("moved", found.moved)):
        told = [
            (before.split if before.split == after.split else f"{before.split} → {after.split}", after)
            for before, after in pairs
        ]
        yield from _list(title, told, limit)


def _list(title: str, placed: Sequence[tuple[str, Placed]], limit: int) -> Iterator[str]:
    from chatbot.admin.datasets.comparing import find_opening

    if not placed:
        return
    yield f"{count_of(len(placed), 'item')} {title}:"
    for where, one in placed[:limit]:
        head = f"  {one.item.id[:16]}  {where:<10}  "
        yield head + fit(find_opening(one.item), max(find_width() - len(head), 10)).rstrip()
    if len(placed) > limit:
        yield f"  …and {len(placed) - limit:,} more"


def _difference_to_json(found: Difference, limit: int) -> dict[str, Any]:
    def tell_of(one: Placed) -> dict[str, Any]:
        return {"split": one.split, "item": one.item.model_dump()}

    pairs = {"changed": found.changed, "moved": found.moved}
    single = {"added": found.added, "removed": found.removed}
    counts = {name: len(value) for name, value in (single | pairs).items()}
    return {
        "counts": {"same": found.same, **counts},
        **{name: [tell_of(one) for one in value[:limit]] for name, value in single.items()},
        **{
            name: [{"before": tell_of(before), "after": tell_of(after)} for before, after in value[:limit]]
            for name, value in pairs.items()
        },
    }
