"""`chatbot logs delete` and `forget`: into the bin and back; and for good, with all that was made of it named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatbot.cli.logs.describing import conversation_to_json, dataset_to_json, list_datasets, model_to_json, name_model
from chatbot.cli.logs.finding import Log, find_conversations, open_log
from chatbot.cli.logs.options import AsJson, Yes
from chatbot.cli.logs.printing import confirm, count_of, find_width, fit, is_interactive, print_json, print_text, tell
from chatbot.cli.logs.waiting import show_work
from chatbot.errors import StoreError
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.admin.datasets.forgetting import Struck
    from chatbot.store.erasure import Forgotten
    from chatbot.store.records import Conversation


def delete(
    identifiers: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Conversations; shortened at will.", show_default=False)
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take them out of the bin again.")] = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete them for good; without IDs all that is in the bin.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Puts conversations into the bin. What is in it is not listed, not searched and not trained on.

    Examples:

    \b
      chatbot logs delete 0192f5e0-1234-7abc
      chatbot logs delete --undo 0192f5e0-1234-7abc
      chatbot logs list --bin
      chatbot logs delete --purge
    """
    if undo and purge:
        raise typer.BadParameter("--undo and --purge exclude each other.")
    if not identifiers and not purge:
        raise typer.BadParameter("Name conversations; `chatbot logs list` shows them.")
    with open_log() as log:
        if purge:
            if identifiers:
                chosen = find_conversations(log.store, identifiers)
            else:
                chosen = [log.store.conversations.get(one) for one in log.store.erasure.list_bin()]
            if not chosen:
                print_json(_nothing()) if as_json else tell("The bin is empty.")
                return
            _forget(log, chosen, yes, as_json, only_deleted=not identifiers)
            return
        chosen = find_conversations(log.store, identifiers or (), deleted=True if undo else None)
        changed = [log.store.conversations.change(one.id, deleted=not undo) for one in chosen]
    if as_json:
        print_json([conversation_to_json(one) for one in changed])
        return
    for one in changed:
        where = "out of the bin again" if undo else "in the bin"
        print_text(f"{one.id} is {where}: {_cut(one)}")
    if not undo:
        tell("`chatbot logs delete --undo ID` takes it out again, `--purge` deletes it for good.")


def forget(
    identifiers: Annotated[list[str], typer.Argument(metavar="ID", help="Conversations; shortened at will.")],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Deletes conversations for good. Rows, search index, dataset items and files, free pages, backups: everywhere.

    Shows first what would go, then asks. What was trained on it cannot unlearn it: every dataset version and adapter
    that had learnt from it is named.

    Examples:

    \b
      chatbot logs forget 0192f5e0-1234-7abc
      chatbot logs forget 0192f5e0-1234-7abc --yes --json | jq .models
    """
    with open_log() as log:
        _forget(log, find_conversations(log.store, identifiers), yes, as_json)


def _forget(log: Log, chosen: Sequence[Conversation], yes: bool, as_json: bool, *, only_deleted: bool = False) -> None:
    from chatbot.admin.forgetting import forget_everywhere

    ids = [one.id for one in chosen]
    planned = log.store.erasure.preview(ids)
    if not as_json:
        print_text("\n".join(_draw_plan(chosen, planned)))
    elif not yes and not is_interactive():
        print_json(_to_json(ids, planned, done=False))
    confirm(f"Delete {count_of(len(ids), 'conversation')} for good? Nothing brings it back.", yes=yes)
    texts = [message.content for one in ids for message in log.store.logs.tree(one)]
    with show_work("deleting") as say:
        done, failure = _erase(log, ids, say, only_deleted)
        say("rewriting datasets and corpora")
        beside = forget_everywhere(log.store, log.home, ids, texts)
    if done is None:
        assert failure is not None
        _tell_struck(beside.struck)
        if beside.failure:
            tell(str(beside.failure))
        raise failure
    if as_json:
        print_json(_to_json(ids, done, done=True, struck=beside.struck))
    else:
        _tell(done, beside.struck)
    if beside.failure:
        raise beside.failure


def _erase(
    log: Log, ids: Sequence[str], say: Callable[[str], object], only_deleted: bool
) -> tuple[Forgotten | None, StoreError | None]:
    """Out of the database first: what it no longer knows is struck from the files now or the next time. An error of the
    database is for when the files are struck, which hold the same texts and need no database to lose them."""
    try:
        return log.store.erasure.forget(ids, say, only_deleted=only_deleted), None
    except StoreError as error:
        return None, error


def _tell(done: Forgotten, struck: Sequence[Struck]) -> None:
    print_text(f"{count_of(done.conversations, 'conversation')} forgotten.")
    if done.new_backup:
        gone = count_of(len(done.backups), "backup")
        print_text(printable_line(f"{gone} that held it deleted; in their place stands {done.new_backup}"))
    if done.unreadable:
        names = ", ".join(map(str, done.unreadable))
        print_text(printable_line(f"These backups cannot be read and may hold it; delete them if you can: {names}"))
    if done.descent.datasets:
        names = ", ".join(f"{one.name}/{one.number}" for one in done.descent.datasets)
        print_text(printable_line(f"Its items are gone from the dataset versions that held it: {names}."))
    _tell_struck(struck)
    if done.descent.models:
        names = ", ".join(f"{one.name}/{one.number}" for one in done.descent.models)
        print_text(printable_line(f"Stale, because they learnt from it: {names}. Train them again without it."))


def _tell_struck(struck: Sequence[Struck]) -> None:
    if struck:
        names = ", ".join(f"{one.name}/{one.number} ({one.items:,})" for one in struck)
        print_text(printable_line(f"Datasets and corpora were written anew without them: {names}."))


def _draw_plan(chosen: Sequence[Conversation], planned: Forgotten) -> Iterator[str]:
    for one in chosen[:10]:
        yield _name(one)
    if len(chosen) > 10:
        yield f"…and {len(chosen) - 10:,} more"
    facts = {
        "messages": f"{planned.messages:,}",
        "dataset items": f"{planned.dataset_items:,}",
        "datasets": list_datasets(planned.descent.datasets) or "none was made from it",
        "models": ", ".join(map(name_model, planned.descent.models)) or "none has learnt from it",
        "backups": ", ".join(path.name for path in planned.backups) or "none holds it",
    }
    if planned.unreadable:
        facts["unreadable"] = ", ".join(path.name for path in planned.unreadable) + " may hold it too"
    for name, value in facts.items():
        yield f"  {name:<15}{printable_line(value)}"


def _name(one: Conversation) -> str:
    return f"{one.id}  {_cut(one)}"


def _cut(one: Conversation) -> str:
    return fit(one.title, max(find_width() - len(one.id) - 30, 10)).rstrip()


def _to_json(ids: Sequence[str], told: Forgotten, *, done: bool, struck: Sequence[Struck] = ()) -> dict[str, Any]:
    return {
        "forgotten": done,
        "conversations": ids,
        "messages": told.messages,
        "dataset_items": told.dataset_items,
        "datasets": [dataset_to_json(one) for one in told.descent.datasets],
        "struck": struck,
        "models": [model_to_json(one) for one in told.descent.models],
        "backups": told.backups,
        "new_backup": told.new_backup,
        "unreadable_backups": told.unreadable,
    }


def _nothing() -> dict[str, Any]:
    from chatbot.store.erasure import Forgotten
    from chatbot.store.lineage import Descent

    return _to_json([], Forgotten(0, 0, 0, Descent((), ()), (), None), done=True)
