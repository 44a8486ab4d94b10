"""`chatbot logs rate`, `tag`, `correct` and `prefer`: what a person thinks of a reply."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from chatbot.cli.logs.describing import RATINGS, judgement_to_json, message_to_json, shorten
from chatbot.cli.logs.finding import Log, find_reply, open_log
from chatbot.cli.logs.options import AsJson
from chatbot.cli.logs.printing import print_json, print_text, tell
from chatbot.cli.logs.texts import check_text, read_text
from chatbot.errors import InvalidInput
from chatbot.text import printable_line

_Reply = Annotated[
    str,
    typer.Argument(metavar="ID", help="A reply's id, or a conversation's for the reply at its end; may be shortened."),
]


def rate(
    identifier: _Reply,
    rating: Annotated[Literal["up", "down", "none"], typer.Argument(help="none takes a rating back.")],
    tags: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="Add a tag; may be repeated.")] = None,
    comment: Annotated[str | None, typer.Option("--comment", metavar="TEXT", help="In your own words.")] = None,
    as_json: AsJson = False,
) -> None:
    """Rates a reply.

    Examples:

    \b
      chatbot logs rate 0192f5e0-1234-7abc up
      chatbot logs rate 0192f5e0-1234-7abc down --tag wrong --comment "It is ten minutes."
    """
    check_text(comment or "", "--comment")
    with open_log() as log:
        reply = find_reply(log.store, identifier)
        log.store.judgements.say(
            reply.id,
            author=log.author,
            rating=RATINGS[rating],
            add_tags=_check_tags(tags),
            comment=comment if comment is None else comment.strip(),
        )
        said = "has no rating now" if rating == "none" else f"is rated {rating}"
        kept = [name for name, given in (("the tags", tags), ("the comment", comment)) if given]
        said += f"; {' and '.join(kept)} kept" if kept else ""
        _tell(log, reply.id, f"{shorten(reply.id)} {said}.", as_json)


def tag(
    identifier: _Reply,
    tags: Annotated[list[str] | None, typer.Argument(metavar="TAG", help="Tags to add.", show_default=False)] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", "-r", metavar="TAG", help="Take a tag away; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Adds tags to a reply, or takes some away. Without tags it prints them, one a line.

    Examples:

    \b
      chatbot logs tag 0192f5e0-1234-7abc funny short
      chatbot logs tag 0192f5e0-1234-7abc --remove short
      chatbot logs tag 0192f5e0-1234-7abc
    """
    with open_log() as log:
        reply = find_reply(log.store, identifier)
        added, removed = _check_tags(tags), _check_tags(remove)
        if added or removed:
            missing = [one for one in removed if one not in log.store.judgements.get(reply.id).tags]
            if missing:
                tell(f"It had no tag {', '.join(missing)}.")
            log.store.judgements.change_tags(reply.id, added, removed, author=log.author)
        now = log.store.judgements.get(reply.id).tags
        _tell(log, reply.id, "\n".join(printable_line(one) for one in now), as_json)


def _check_tags(tags: list[str] | None) -> list[str]:
    """`+tag` is the tag: some write it so. Commas stand between tags, as they do on the screens."""
    checked = [check_text(one, "A tag").strip().removeprefix("+").strip() for one in tags or []]
    found = [part.strip() for one in checked for part in one.split(",") if part.strip()]
    if checked and not found:
        raise InvalidInput("A tag has at least one character.")
    return found


def correct(
    identifier: _Reply,
    text: Annotated[
        list[str] | None,
        typer.Argument(help="The reply as it should be; - reads standard input.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Writes a reply as it should have been. It stands beside the original and is preferred to it;
    it is approved at once (one that is written in the chat waits for the review), and the original rejected.

    Without a text, your editor ($VISUAL, $EDITOR) opens with the reply.

    Examples:

    \b
      chatbot logs correct 0192f5e0-1234-7abc
      chatbot logs correct 0192f5e0-1234-7abc "It is ten minutes."
      fold -s answer.txt | chatbot logs correct 0192f5e0-1234-7abc -
    """
    from chatbot.logs.reviewing import Reviewer

    with open_log() as log:
        reply = find_reply(log.store, identifier)
        content = read_text(text or [], reply.content, "The text")
        reviewer = Reviewer(log.store, author=log.author, wanted=log.settings.review.wanted)
        correction = reviewer.correct(reply.id, content)
        if as_json:
            judged = log.store.judgements.get(correction.id)
            print_json(message_to_json(correction, judged) | {"corrects": reply.id})
            return
        print_text(f"{shorten(correction.id)} is approved in the place of {shorten(reply.id)}.")


def prefer(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="The better reply.")],
    over: Annotated[list[str], typer.Argument(metavar="OTHER_ID", help="Worse replies to the same message.")],
    as_json: AsJson = False,
) -> None:
    """Prefers a reply to others. A training by preferences learns from that; they must answer the same message.

    Examples:

    \b
      chatbot logs prefer 0192f5e0-1234-7abc 0192f5e0-1233-7abc
    """
    with open_log() as log:
        better = find_reply(log.store, identifier)
        others = [find_reply(log.store, one).id for one in over]
        if better.id in others:
            raise InvalidInput("A reply cannot be better than itself.")
        log.store.judgements.prefer(better.id, others, author=log.author)
        told = f"{shorten(better.id)} is preferred to {', '.join(map(shorten, others))}."
        print_json({"message": better.id, "preferred_over": others}) if as_json else print_text(told)


def _tell(log: Log, message_id: str, text: str, as_json: bool) -> None:
    """The reply as it is judged now, or `text`."""
    if as_json:
        reply = log.store.messages.get(message_id)
        judged = judgement_to_json(log.store.judgements.get(message_id))
        print_json({"message": message_id, "conversation": reply.conversation_id} | judged)
    elif text:
        print_text(text)
