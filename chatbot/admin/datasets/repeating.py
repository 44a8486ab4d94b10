"""The next version of a dataset, asked for in the same way as the last one: what `cycle` begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime

from chatbot.admin.datasets.request import BuildRequest
from chatbot.store.datasets import DatasetVersion
from chatbot.store.filters import LogFilter


def repeat_request(name: str, last: DatasetVersion | None, *, system: str, names: Sequence[str]) -> BuildRequest | None:
    """How to build the next version of `name`; None if the last one needs files, whose places no recipe tells.

    Without a last version it is everything that was approved, with a fifth of general rows against forgetting.
    `system` is the persona's prompt, `names` are those that a redaction masks.
    """
    if last is None:
        return BuildRequest(name=name, kind="sft", log=LogFilter(), system=system, replay=0.2)
    recipe = dict(last.recipe)
    if recipe.get("files") or recipe.get("replay_file") or not isinstance(recipe.get("log"), dict):
        return None
    known = {field.name for field in fields(BuildRequest)} - {"name", "files", "replay_file", "names", "log"}
    chosen = {key: value for key, value in recipe.items() if key in known}
    return BuildRequest(
        name=name, log=_read_filter(recipe["log"]), names=tuple(names) if recipe.get("redact") else (), **chosen
    )


def _read_filter(told: dict[str, object]) -> LogFilter:
    values = {}
    for field in fields(LogFilter):
        value = told.get(field.name)
        if value is None:
            continue
        moment = "datetime" in str(field.type) and isinstance(value, str)
        values[field.name] = datetime.fromisoformat(str(value)) if moment else value
        if isinstance(value, list):
            values[field.name] = tuple(value)
    return LogFilter(**values)  # type: ignore[arg-type]
