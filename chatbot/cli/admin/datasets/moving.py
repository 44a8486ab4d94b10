"""`chatbot admin dataset export` and `import`: a version as one file, for another machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chatbot.cli.admin.datasets.counts import describe_counts, manifest_to_json
from chatbot.cli.logs.finding import open_log
from chatbot.cli.logs.options import AsJson
from chatbot.cli.logs.printing import print_json, print_text, tell
from chatbot.cli.logs.waiting import show_work
from chatbot.text import printable_line


def export(
    title: Annotated[str, typer.Argument(metavar="NAME", help="NAME/NUMBER, or NAME for its newest version.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The ZIP to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Writes a version into one ZIP, readable by you only. The same version makes the same bytes.

    Examples:

    \b
      chatbot admin dataset export talks/2 talks-2.zip
    """
    from chatbot.admin.datasets.freezing import open_version
    from chatbot.admin.datasets.moving import export_version
    from chatbot.files import hash_file

    with open_log() as log, show_work("packing"):
        version, folder = open_version(log.store, log.home, title)
        export_version(folder, file, replace=force)
    if as_json:
        print_json({"file": file, "name": version.name, "number": version.number, "sha256": hash_file(file)})
        return
    tell(f"{version.title} written to {file}.")


def import_version(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A ZIP that `dataset export` wrote.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Take it under this name.")] = "",
    as_json: AsJson = False,
) -> None:
    """Takes a version that another machine exported, under the next number of its name.

    Every hash and every line is checked first; a damaged or foreign archive leaves nothing behind.

    Examples:

    \b
      chatbot admin dataset import talks-2.zip
      chatbot admin dataset import talks-2.zip --name theirs
    """
    from chatbot.admin.datasets.moving import import_version as take

    with open_log() as log, show_work("checking"):
        folder, is_new = take(log.store, log.home, file, name=name)
    if as_json:
        print_json(manifest_to_json(folder) | {"new": is_new})
        return
    told = f"{folder.manifest.name}/{folder.manifest.number}"
    print_text(
        printable_line(f"{told} is here: {folder.path}")
        if is_new
        else f"It is here already: {told} holds the same, so nothing is taken."
    )
    print_text("\n".join(describe_counts(folder.manifest.counts)))
