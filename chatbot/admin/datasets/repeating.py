"""The next version of a dataset, asked for in the same way as the last one: what `cycle` begins with.

Only a recipe that was written here is followed. One that came with an import is a stranger's: its filters are about
another log, and it decides whether personal data is masked and whether unreviewed replies teach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from pydantic import TypeAdapter, ValidationError

from chatbot.admin.datasets.request import BuildRequest
from chatbot.errors import DatasetDamaged, InvalidInput
from chatbot.store.datasets import DatasetVersion
from chatbot.store.filters import LogFilter
from chatbot.text import printable_line


def repeat_request(name: str, last: DatasetVersion | None, *, system: str, names: Sequence[str]) -> BuildRequest | None:
    """How to build the next version of `name`; None if the last one is to be taken as it is: it was imported, or needs
    files, whose places no recipe tells.

    Without a last version it is everything that was approved, with a fifth of general rows against forgetting.
    `system` is the persona's prompt, `names` are those that a redaction masks. Raises DatasetDamaged if the recipe is
    none.
    """
    if last is None:
        return BuildRequest(name=name, kind="sft", log=LogFilter(), system=system, replay=0.2)
    recipe = dict(last.recipe)
    if last.imported or recipe.get("files") or recipe.get("replay_file") or not isinstance(recipe.get("log"), dict):
        return None
    known = {field.name for field in fields(BuildRequest)} - {"name", "files", "replay_file", "names"}
    told = {key: value for key, value in recipe.items() if key in known}
    try:
        return TypeAdapter(BuildRequest).validate_python(
            told | {"name": name, "names": tuple(names) if recipe.get("redact") else ()}
        )
    except (ValidationError, InvalidInput) as error:
        reason = error.message if isinstance(error, InvalidInput) else _explain(error)
        raise DatasetDamaged(
            f"The recipe of {last.title} cannot be followed: {reason}",
            hint="Build the next version with `chatbot admin dataset build`, or give --no-rebuild.",
        ) from None


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    return printable_line(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.", 200)
