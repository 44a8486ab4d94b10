"""`chatbot logs show`: a conversation on the branch that is on screen, on another, on all, or the shape of its tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatbot.cli.logs.describing import conversation_to_json, describe_state, message_to_json, name_author, shorten
from chatbot.cli.logs.drawing import draw_tree
from chatbot.cli.logs.finding import find_either, open_log
from chatbot.cli.logs.options import AsJson
from chatbot.cli.logs.printing import count_of, find_width, print_json, print_text, style
from chatbot.cli.logs.times import show_time
from chatbot.errors import InvalidInput
from chatbot.text import printable, printable_line

if TYPE_CHECKING:
    from chatbot.store.database import Store
    from chatbot.store.records import Conversation, Message
    from chatbot.store.reply_states import Judgement


def show(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="A conversation's or message's; may be shortened.")],
    path: Annotated[str, typer.Option("--path", metavar="MESSAGE_ID", help="The branch down to this message.")] = "",
    every: Annotated[bool, typer.Option("--all", help="All branches, in the order in which they came.")] = False,
    tree: Annotated[bool, typer.Option("--tree", help="The shape of the tree, a line for each message.")] = False,
    as_json: AsJson = False,
) -> None:
    """Prints a conversation: the branch on screen; for a message's id, the branch down to it.

    A reply's heading tells its model, time, id, ‹which alternative it is›, how it ended, its rating, its place in the
    review and its #tags.

    Examples:

    \b
      chatbot logs show 0192f5e0-1234-7abc
      chatbot logs show 0192f5e0-1234-7abc --tree
      chatbot logs show 0192f5e0-1234-7abc --json | jq -r '.messages[-1].content'
    """
    if (bool(path) + every + tree) > 1:
        raise typer.BadParameter("--path, --all and --tree are different views; give one of them.")
    with open_log() as log:
        conversation, end = _find_view(log.store, identifier, path)
        seen = {message.id: message for message in log.store.logs.tree(conversation.id)}
        branch = [seen.get(message.id, message) for message in log.store.logs.path(end)] if end else []
        shown = list(seen.values()) if every or tree else branch
        judgements = {one.id: log.store.judgements.get(one.id) for one in shown if one.role == "assistant" and not tree}
        system = log.store.redactions.system_prompt(conversation.id)
        parents = {one.id: one.parent_id for one in log.store.logs.tree(conversation.id, hidden=True)} if tree else {}
    if as_json:
        on_branch = {one.id for one in branch}
        messages = [
            message_to_json(message, judgements.get(message.id)) | {"on_branch": message.id in on_branch}
            for message in shown
        ]
        print_json(conversation_to_json(conversation) | {"system_prompt": system, "messages": messages})
        return
    print_text(_draw_head(conversation, list(seen.values())))
    if tree:
        visible = [replace(one, parent_id=_find_visible(parents, seen, one.parent_id)) for one in shown]
        print_text("\n".join(draw_tree(visible, {one.id for one in branch}, find_width())))
        return
    for message in shown:
        print_text("\n" + "\n".join(_draw_message(message, judgements.get(message.id))))


def _find_view(store: Store, identifier: str, path: str) -> tuple[Conversation, str | None]:
    """The conversation, and the message that the branch ends with."""
    from chatbot.store.records import Conversation

    found = find_either(store, identifier)
    conversation = found if isinstance(found, Conversation) else store.conversations.get(found.conversation_id)
    end = conversation.tip if isinstance(found, Conversation) else found.id
    if path:
        message = store.messages.find(path)
        if message.conversation_id != conversation.id:
            raise InvalidInput(
                f"{path!r} is a message of another conversation.", hint=f"That is {message.conversation_id}."
            )
        end = message.id
    return conversation, end


def _find_visible(parents: dict[str, str | None], seen: dict[str, Any], parent: str | None) -> str | None:
    """The nearest message above that is not hidden."""
    while parent is not None and parent not in seen:
        parent = parents.get(parent)
    return parent


def _draw_head(conversation: Conversation, messages: Sequence[Message]) -> str:
    forks = len({one.parent_id for one in messages if one.siblings > 1})
    facts = [
        conversation.id,
        f"persona {conversation.persona}",
        count_of(len(messages), "message"),
        f"{count_of(forks, 'fork')}" if forks else "",
        f"changed {show_time(conversation.updated)}",
        *(name for name in ("pinned", "archived") if getattr(conversation, name)),
        "in the bin" if conversation.deleted else "",
    ]
    told = printable_line(" · ".join(fact for fact in facts if fact))
    return f"{style(printable_line(conversation.title), bold=True)}\n{style(told, dim=True)}"


def _draw_message(message: Message, judged: Judgement | None) -> Iterator[str]:
    facts = [show_time(message.created), shorten(message.id)]
    if message.siblings > 1:
        facts.append(f"‹{message.sibling}/{message.siblings}›")
    facts += describe_state(message)
    if judged and judged.tags:
        facts.append(" ".join(f"#{printable_line(tag)}" for tag in judged.tags))
    author = printable_line(name_author(message))
    colour = "green" if message.role == "user" else "cyan"
    yield f"{style('── ' + author, fg=colour, bold=True)} {style('· ' + ' · '.join(facts), dim=True)}"
    if judged and judged.comment:
        yield style(f"   “{printable_line(judged.comment)}”", italic=True)
    yield printable(message.content).strip("\n")
