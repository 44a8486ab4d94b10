"""The filters that the commands of `chatbot logs` share.

They are the fields of one class; `with_filters` puts them among the options of a command, which so takes one argument
in place of eleven.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from chatbot.cli.logs.finding import find_conversation
from chatbot.cli.logs.texts import check_text
from chatbot.cli.logs.times import parse_since, parse_until

if TYPE_CHECKING:
    from chatbot.store.database import Store
    from chatbot.store.filters import LogFilter


@dataclass(frozen=True, slots=True)
class Filters:
    """What was asked for on the command line; what is None asks nothing."""

    since: Annotated[
        datetime | None,
        typer.Option(
            "--since",
            metavar="DATE",
            parser=parse_since,
            help="Changed since 2026-11-01, 2026-11-01T10:00, yesterday, 12h, 7d…; of words: said since then.",
        ),
    ] = None
    until: Annotated[
        datetime | None,
        typer.Option(
            "--until",
            metavar="DATE",
            parser=parse_until,
            help="Changed before this moment or the end of this day; of words: said before it.",
        ),
    ] = None
    persona: Annotated[str | None, typer.Option("--persona", metavar="NAME", help="Talks with this persona.")] = None
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="With a reply of this model.")] = None
    rating: Annotated[
        Literal["up", "down", "none"] | None,
        typer.Option("--rating", help="With a reply so rated; with words, the hit itself."),
    ] = None
    status: Annotated[
        Literal["complete", "stopped", "failed", "interrupted", "streaming"] | None,
        typer.Option("--status", help="With a reply that ended so."),
    ] = None
    state: Annotated[
        Literal["waiting", "approved", "rejected", "redacted"] | None,
        typer.Option("--state", help="With a reply in this state of the review; with words, the hit itself."),
    ] = None
    tag: Annotated[
        str | None,
        typer.Option("--tag", metavar="TAG", help="With a reply that has this tag; with words, the hit itself."),
    ] = None
    text: Annotated[
        str | None,
        typer.Option(
            "--text",
            metavar="WORDS",
            help="In which a message (in the review: the reply) holds these words; dates, ratings and so on are then "
            "of that one.",
        ),
    ] = None
    conversation: Annotated[
        str | None, typer.Option("--conversation", metavar="ID", help="Only this one; the id may be shortened.")
    ] = None
    bin: Annotated[bool, typer.Option("--bin", help="Look among the deleted ones instead.")] = False

    @property
    def is_empty(self) -> bool:
        """Whether everything is meant."""
        return self == Filters()

    def resolve(self, store: Store) -> LogFilter:
        """The store's filter. Raises NotFound, InvalidInput for a conversation's id or text that is none."""
        from chatbot.store.filters import LogFilter

        for name in ("persona", "model", "tag", "text"):
            check_text(getattr(self, name) or "", f"--{name}")
        chosen = find_conversation(store, self.conversation) if self.conversation is not None else None
        return LogFilter(
            since=self.since,
            until=self.until,
            persona=self.persona or "",
            model=self.model or "",
            rating=self.rating or "",
            status=self.status or "",
            state=self.state or "",
            tag=self.tag or "",
            text=self.text or "",
            conversation=chosen.id if chosen else "",
            deleted=self.bin or bool(chosen and chosen.deleted),
        )


def with_filters(*left_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the filters as options, in the place of its parameter `asked`, which takes a `Filters`; those
    named are left out."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        options = [field for field in fields(Filters) if field.name not in left_out]
        hints = _find_hints() | get_type_hints(command, include_extras=True)
        parameters: list[Parameter] = []
        for own in signature(command).parameters.values():
            if own.name != "asked":
                parameters.append(own.replace(annotation=hints[own.name], kind=Parameter.KEYWORD_ONLY))
                continue
            parameters += [
                Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name])
                for field in options
            ]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            asked = Filters(**{field.name: values.pop(field.name) for field in options})
            command(asked=asked, **values)

        run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # which is what Typer reads
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


@functools.cache
def _find_hints() -> dict[str, Any]:
    return get_type_hints(Filters, include_extras=True)
