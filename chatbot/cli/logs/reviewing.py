"""`chatbot logs review`: how far the review is, and decisions about many replies at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from chatbot.cli.logs.describing import DECISIONS, message_to_json, name_author, shorten
from chatbot.cli.logs.filters import Filters, with_filters
from chatbot.cli.logs.finding import Log, find_replies, open_log
from chatbot.cli.logs.options import AsJson, Offset, Yes
from chatbot.cli.logs.printing import confirm, count_of, lay_out, print_json, print_text, tell
from chatbot.cli.logs.texts import check_text
from chatbot.cli.logs.waiting import show_bar
from chatbot.errors import InvalidInput

if TYPE_CHECKING:
    from chatbot.logs.reviewing import Reviewer
    from chatbot.store.filters import LogFilter
    from chatbot.store.records import Message

Decision = Literal["approve", "reject", "withdraw"]
_SHOWN = 10
_MOST = 1_000_000_000


@with_filters()
def review(
    identifiers: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Replies to decide about, in place of a filter.", show_default=False),
    ] = None,
    *,
    approve: Annotated[bool, typer.Option("--approve", help="They may train.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="They may not.")] = False,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take back what was decided about these IDs.")] = False,
    every: Annotated[bool, typer.Option("--all", help="All that wait.")] = False,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why.")] = "",
    yes: Yes = False,
    asked: Filters,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, max=_MOST, metavar="N", help="Show at most so many; else 10.")
    ] = None,
    offset: Offset = 0,
    as_json: AsJson = False,
) -> None:
    """Tells how far the review is, or decides. What waits is shown with the worst first.

    A decision is made about the given IDs, or about all replies that wait and that the filters mean. `chatbot review`
    shows one reply after another on the screen.

    Examples:

    \b
      chatbot logs review
      chatbot logs review --approve --rating up --since 7d --yes
      chatbot logs review --reject 0192f5e0-1234-7abc --note "It made the book up."
    """
    from chatbot.logs.reviewing import Reviewer

    decisions: dict[Decision, bool] = {"approve": approve, "reject": reject, "withdraw": withdraw}
    chosen = [name for name, wanted in decisions.items() if wanted]
    if len(chosen) > 1:
        raise typer.BadParameter("--approve, --reject and --withdraw exclude each other.")
    if identifiers and not chosen:
        raise typer.BadParameter("Say what to do with them: --approve, --reject or --withdraw.")
    if identifiers and (every or not asked.is_empty):
        raise typer.BadParameter("Give IDs or filters, not both.")
    if chosen and (limit is not None or offset):
        # A person who gives them means to decide about few: to decide about all would be the worst answer.
        raise typer.BadParameter("--limit and --offset are for looking; a decision is about all that is meant.")
    if withdraw and not identifiers:
        raise typer.BadParameter("--withdraw needs the IDs of replies.")
    if chosen and not identifiers and asked.is_empty and not every:
        raise typer.BadParameter("Name replies, or give filters, or --all.")
    check_text(note, "--note")
    with open_log() as log:
        reviewer = Reviewer(log.store, author=log.author, wanted=log.settings.review.wanted)
        if not chosen:
            _show_queue(log, reviewer, asked.resolve(log.store), limit or _SHOWN, offset, as_json)
            return
        if identifiers:
            done = _decide_these(log, find_replies(log.store, identifiers), chosen[0], note, yes)
        else:
            done = _decide_all(log, reviewer, asked.resolve(log.store), chosen[0], note, yes)
        if as_json:
            print_json({"decision": DECISIONS[chosen[0]], "replies": done} | _progress_to_json(reviewer))
        else:
            print_text(f"{count_of(done, 'reply', 'replies')} {DECISIONS[chosen[0]]}. {_describe_progress(reviewer)}")


def _show_queue(log: Log, reviewer: Reviewer, asked: LogFilter, limit: int, offset: int, as_json: bool) -> None:
    from chatbot.logs.reviewing import describe_concerns

    replies = [log.store.messages.get(entry.message_id) for entry in reviewer.queue(asked, limit=limit, offset=offset)]
    concerns = [describe_concerns(reply, log.store.judgements.is_flagged(reply.id)) for reply in replies]
    if as_json:
        queue = [message_to_json(reply) | {"concerns": why} for reply, why in zip(replies, concerns, strict=True)]
        print_json(_progress_to_json(reviewer) | {"meant": log.store.review_queue.count(asked), "queue": queue})
        return
    print_text(_describe_progress(reviewer))
    if not replies:
        tell("Nothing waits here.")
        return
    rows = [
        [shorten(reply.id), why[0] if why else "", name_author(reply), reply.content[:400]]
        for reply, why in zip(replies, concerns, strict=True)
    ]
    print_text("\n" + "\n".join(lay_out(["ID", "WHY", "MODEL", "REPLY"], rows, flexible=3, limits={1: 20, 2: 14})))
    waiting = log.store.review_queue.count_waiting(asked) - offset - len(replies)
    if waiting > 0:
        tell(f"{waiting:,} more wait. `chatbot review` goes through them.")


def _decide_these(log: Log, replies: Sequence[Message], decision: Decision, note: str, yes: bool) -> int:
    confirm(f"{decision.capitalize()} {count_of(len(replies), 'reply', 'replies')}?", yes=yes)
    log.store.judgements.decide([reply.id for reply in replies], decision, author=log.author, note=note)
    return len(replies)


def _decide_all(log: Log, reviewer: Reviewer, asked: LogFilter, decision: Decision, note: str, yes: bool) -> int:
    """A page at a time: a stop in between keeps what was decided."""
    if asked.state not in {"", "waiting"}:
        raise InvalidInput(f"What is {asked.state} does not wait for a decision.", hint="Give the IDs of the replies.")
    until = reviewer.mark_now()
    count = log.store.review_queue.count(asked)
    if not count:
        return 0
    confirm(f"{decision.capitalize()} {count_of(count, 'reply', 'replies')} unread?", yes=yes)
    done = 0
    with show_bar(f"{decision.capitalize()}", count, delay=0.5) as bar:
        for added in reviewer.decide_all(asked, decision, until=until, note=note or "by filter"):
            done += added
            bar.advance(added)
    return done


def _progress_to_json(reviewer: Reviewer) -> dict[str, Any]:
    progress = reviewer.progress()
    return {
        "waiting": progress.waiting,
        "approved": progress.approved,
        "rejected": progress.rejected,
        "redacted": progress.redacted,
        "wanted": reviewer.wanted,
    }


def _describe_progress(reviewer: Reviewer) -> str:
    progress = reviewer.progress()
    wait = "1 waits" if progress.waiting == 1 else f"{progress.waiting:,} wait"
    return f"{progress.approved:,} approved of {reviewer.wanted:,} wanted, {wait}."
