"""`chatbot logs lineage`: which model wrote a reply, what learnt from it, and what a model has learnt from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatbot.cli.logs.describing import (
    conversation_to_json,
    dataset_to_json,
    describe_state,
    list_datasets,
    model_to_json,
    name_author,
    name_model,
    shorten,
)
from chatbot.cli.logs.finding import Log, find_either, open_log
from chatbot.cli.logs.options import AsJson
from chatbot.cli.logs.printing import count_of, print_json, print_text, style
from chatbot.cli.logs.texts import check_text
from chatbot.cli.logs.times import show_time
from chatbot.errors import NotFound
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.store.lineage import Descent, Origin
    from chatbot.store.records import Conversation, Message

_IDENTIFIER = re.compile(r"[0-9a-f-]{1,36}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Written:
    """A reply with what wrote it; `number` is the model version's."""

    reply: Message
    number: int | None
    template_sha: str


def lineage(
    what: Annotated[
        str, typer.Argument(metavar="ID|NAME[/NUMBER]", help="A conversation, a message, or a model version.")
    ],
    messages: Annotated[bool, typer.Option("--messages", help="Of a model: all messages that trained it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tells who wrote what and who learnt from it.

    Of a conversation or message: what wrote each reply, how it was judged, and which dataset versions and
    models learnt from it, and so are stale once it is forgotten. Of a model: what it was made from, the messages that
    trained it, and why it was promoted.

    Examples:

    \b
      chatbot logs lineage 0192f5e0-1234-7abc
      chatbot logs lineage mine/3
      chatbot logs lineage mine/3 --json | jq -r '.[].messages[]'
    """
    check_text(what, "The name")
    with open_log() as log:
        try:
            if not _IDENTIFIER.fullmatch(what):
                raise NotFound(f"There is no conversation or message {what!r}.")
            found = find_either(log.store, what)
        except NotFound:
            origins = [log.store.lineage.of_model(one) for one in log.store.lineage.find_model(what)]
            if not origins:
                raise NotFound(
                    f"There is no conversation, message or model {what!r}.", hint="`chatbot logs list` shows what is."
                ) from None
            _show_models(origins, messages, as_json)
            return
        _show_said(log, found, as_json)


def _show_said(log: Log, found: Conversation | Message, as_json: bool) -> None:
    from chatbot.store.records import Conversation

    if isinstance(found, Conversation):
        conversation, said = found, log.store.logs.tree(found.id)
        descent = log.store.lineage.of_conversation(found.id)
    else:
        conversation, said = log.store.conversations.get(found.conversation_id), [found]
        descent = log.store.lineage.of_messages([found.id])
    replies = _find_writers(log, [one for one in said if one.role == "assistant"])
    if as_json:
        told = {"conversation": conversation_to_json(conversation), "replies": list(map(_reply_to_json, replies))}
        print_json(told | _descent_to_json(descent))
        return
    print_text(f"{style(printable_line(conversation.title), bold=True)} · {conversation.id}")
    for one in replies:
        print_text(_draw_reply(one))
    print_text("\n".join(_draw_descent(descent)))


def _find_writers(log: Log, replies: Sequence[Message]) -> list[_Written]:
    """The store's records of messages name the model only; its version and template stand in the rows."""
    from chatbot.store.opinions import describe_writer

    with log.read() as connection:
        told = [describe_writer(connection, reply.id) for reply in replies]
    versions = {one["model_version_id"] for one in told if one["model_version_id"]}
    numbers = {version: log.store.lineage.of_model(version).model.number for version in versions}
    return [
        _Written(reply, numbers.get(one["model_version_id"]), one["template_sha"])
        for reply, one in zip(replies, told, strict=True)
    ]


def _draw_reply(one: _Written) -> str:
    seed = one.reply.generation.get("seed")
    author = name_author(one.reply) + (f"/{one.number}" if one.number else "")
    facts = [
        shorten(one.reply.id),
        author,
        f"template {one.template_sha[:12]}" if one.template_sha else "",
        f"seed {seed}" if seed is not None else "",
        *describe_state(one.reply),
    ]
    return "  " + printable_line(" · ".join(fact for fact in facts if fact))


def _draw_descent(descent: Descent) -> Iterator[str]:
    if not descent.datasets:
        yield "No dataset holds it, no model has learnt from it."
        return
    yield printable_line(f"Datasets: {list_datasets(descent.datasets)}")
    if descent.models:
        yield printable_line(f"Learnt from it: {', '.join(map(name_model, descent.models))}")
        yield "These are stale once it is forgotten."
    else:
        yield "No model has learnt from it."


def _show_models(origins: Sequence[Origin], messages: bool, as_json: bool) -> None:
    if as_json:
        print_json([_origin_to_json(origin) for origin in origins])
        return
    for place, origin in enumerate(origins):
        print_text(("\n" if place else "") + "\n".join(_draw_origin(origin, messages)))


def _draw_origin(origin: Origin, messages: bool) -> Iterator[str]:
    from chatbot.store.archive import IMPORTED

    model = origin.model
    yield style(printable_line(name_model(model)), bold=True)
    facts = {
        "kind": model.kind,
        "made": show_time(model.created),
        "path": "none: only its name is known, from an import" if origin.path == IMPORTED else origin.path,
        "sha256": origin.sha256,
        "run": origin.run_id or "none: it was not trained here",
        "base": origin.base_model,
        "parent": name_model(origin.parent) if origin.parent else "",
        "datasets": list_datasets(origin.datasets),
        "trained by": count_of(len(origin.messages), "message") if origin.run_id else "",
        "stale": f"it learnt what was since forgotten, in {', '.join(origin.forgotten)}" if origin.forgotten else "",
        "wrote": count_of(origin.replies, "reply", "replies"),
    }
    for name, value in facts.items():
        if value:
            yield f"  {name:<12}{printable_line(value)}"
    for move in origin.promotions:
        verb = "became" if move.arrived else "ceased to be"
        by = f" by {move.author}" if move.author else ""
        told = f"{show_time(move.created)} {verb} {move.alias}{by}: {move.reason or 'no reason given'}"
        yield f"  {printable_line(told)}"
    if messages:
        yield from (f"  {message}" for message in origin.messages)


def _reply_to_json(one: _Written) -> dict[str, Any]:
    return {
        "message": one.reply.id,
        "author": name_author(one.reply),
        "model": one.reply.model,
        "number": one.number,
        "template_sha": one.template_sha,
        "seed": one.reply.generation.get("seed"),
        "sampling": one.reply.generation.get("sampling"),
        "created": one.reply.created,
        "state": describe_state(one.reply),
    }


def _descent_to_json(descent: Descent) -> dict[str, Any]:
    return {
        "datasets": [dataset_to_json(one) for one in descent.datasets],
        "models": [model_to_json(one) for one in descent.models],
    }


def _origin_to_json(origin: Origin) -> dict[str, Any]:
    return model_to_json(origin.model) | {
        "created": origin.model.created,
        "path": origin.path,
        "sha256": origin.sha256,
        "run": origin.run_id,
        "base_model": origin.base_model,
        "parent": model_to_json(origin.parent) if origin.parent else None,
        "datasets": [dataset_to_json(one) for one in origin.datasets],
        "messages": origin.messages,
        "replies": origin.replies,
        "promotions": origin.promotions,
    }
