"""`chatbot admin corpus list` and `delete`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatbot.cli.admin.corpora.counts import read_map, read_number, show_size
from chatbot.cli.logs.finding import Log, open_log
from chatbot.cli.logs.options import AsJson, Yes
from chatbot.cli.logs.printing import confirm, lay_out, print_json, print_text, tell
from chatbot.cli.logs.times import show_day

if TYPE_CHECKING:
    from chatbot.store.datasets import DatasetVersion


def list_corpora(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Only this corpus.", show_default=False)] = "",
    as_json: AsJson = False,
) -> None:
    """Lists the versions of all corpora, or of one.

    Examples:

    \b
      chatbot admin corpus list
      chatbot admin corpus list novels --json | jq '.[-1].sha256'
    """
    from chatbot.admin.corpus.versions import list_corpora as find_all

    with open_log() as log:
        versions = find_all(log.store, name or None)
        told = [_summarise(log, version) for version in versions]
    if as_json:
        print_json(told)
        return
    if not told:
        tell("There are no corpora yet: `chatbot admin corpus build NAME --from PATH` makes one.")
        return
    rows = [
        [
            f"{one['name']}/{one['number']}",
            f"{one['documents']:,}",
            *(show_size(one["bytes"].get(split, 0)) for split in ("train", "validation")),
            show_day(version.created),
            one["sha256"][:12],
            ", ".join([*one["problems"], *(["trained on"] if one["runs"] else [])]),
        ]
        for one, version in zip(told, versions, strict=True)
    ]
    titles = ["CORPUS", "DOCUMENTS", "TRAIN", "VALID", "MADE", "SHA256", ""]
    print_text("\n".join(lay_out(titles, rows, flexible=0, right=[1, 2, 3])))


def delete(
    titles: Annotated[list[str], typer.Argument(metavar="NAME/NUMBER", help="Versions, each with its number.")],
    force: Annotated[bool, typer.Option("--force", help="Also one that a run used; the run keeps its trail.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Deletes versions, with the tokens that were made of them. One that a run used stays.

    Examples:

    \b
      chatbot admin corpus delete novels/1
    """
    from chatbot.admin.corpus.versions import delete_version, find_corpus
    from chatbot.admin.datasets.request import parse_title

    with open_log() as log:
        chosen = []
        for title in dict.fromkeys(titles):
            name, number = parse_title(title)
            if number is None:
                raise typer.BadParameter(f"Which version of {name}? Such as {name}/1.")
            chosen.append(find_corpus(log.store, title))
        confirm(f"Delete {', '.join(one.title for one in chosen)}? Nothing brings it back.", yes=yes)
        for version in chosen:
            delete_version(log.store, log.home, version, force=force)
    if as_json:
        print_json([one.title for one in chosen])
        return
    print_text("\n".join(f"{one.title} is deleted." for one in chosen))


def _summarise(log: Log, version: DatasetVersion) -> dict[str, Any]:
    from chatbot.admin.corpus.folder import CorpusFolder
    from chatbot.admin.corpus.versions import version_folder
    from chatbot.errors import DatasetDamaged

    path = version_folder(log.home, version)
    problems = []
    try:
        if CorpusFolder.open(path).manifest.sha256 != version.sha256:
            problems.append("differs from the database")
    except DatasetDamaged:
        problems.append("damaged" if path.is_dir() else "its files are gone")
    if struck := read_number(version.counts, "struck"):
        problems.append(f"{struck:,} forgotten")
    return {
        "name": version.name,
        "number": version.number,
        "documents": read_number(version.counts, "documents"),
        "rows": read_map(version.counts, "rows"),
        "bytes": {split: read_number(read_map(version.counts, "bytes"), split) for split in ("train", "validation")},
        "sha256": version.sha256,
        "path": path,
        "created": version.created,
        "runs": log.store.datasets.runs(version.id),
        "problems": problems,
    }
