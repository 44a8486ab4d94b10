"""`chatbot ask`: one turn on standard output, for scripts and for quick questions.

It is the same turn as in the chat: the same manager, the same history. Text for a person goes through `printable()`;
a script that wants every byte takes `--json`, which escapes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatbot.errors import ChatbotError, InvalidInput, PromptTooLong
from chatbot.text import printable, printable_line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from rich.status import Status

    from chatbot.dialogue.events import ReplyEnded, TurnEvent
    from chatbot.dialogue.manager import Manager
    from chatbot.store.records import Message


def ask(
    text: Annotated[
        list[str] | None,
        typer.Argument(help="The prompt. Without it, or in place of a -, standard input is read.", show_default=False),
    ] = None,
    go_on: Annotated[bool, typer.Option("--continue", help="Go on with the newest conversation.")] = False,
    conversation: Annotated[
        str, typer.Option("--conversation", "-c", metavar="ID", help="Go on with this one; the id may be shortened.")
    ] = "",
    persona: Annotated[str, typer.Option("--persona", "-p", metavar="NAME", help="Who answers.")] = "",
    model: Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="The model that answers.")] = "",
    temperature: Annotated[
        float | None, typer.Option("--temperature", "-t", min=0.0, help="0 always takes the most probable token.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="The same seed gives the same reply.")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", min=1, help="The longest reply.")] = None,
    no_log: Annotated[bool, typer.Option("--no-log", help="Keep nothing of this turn.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when the reply has ended, and nothing else.")
    ] = False,
) -> None:
    """One turn: the reply is streamed to standard output and kept in the history.

    Examples:

    \b
      chatbot ask "Why is the sky blue?"
      chatbot ask --continue "Shorter, please."
      git diff | chatbot ask "Write a commit message:" -
      chatbot ask --json --no-log --temperature 0 "2+2?" | jq -r .text

    Exit codes: 0 answered, 130 stopped with Ctrl-C (what was said is kept), 141 nobody reads any more; the others are
    listed by `chatbot --help`.
    """
    if go_on and conversation:
        raise typer.BadParameter("--continue and --conversation name two conversations; give one of them.")
    if no_log and (go_on or conversation):
        raise typer.BadParameter("--no-log cannot go on with a kept conversation.")
    if sys.stdout is None:
        raise ChatbotError("There is no standard output to write the reply to.")
    prompt = _read_prompt(text or ["-"])

    from chatbot.config import find_home, load_settings
    from chatbot.dialogue.manager import Sampling
    from chatbot.dialogue.opening import open_manager

    home = find_home()
    settings = load_settings(home)
    sampling = Sampling(temperature=temperature, seed=seed, max_tokens=max_tokens)

    async def run() -> int:
        manager = open_manager(settings, home, in_memory=no_log, model=model)
        try:
            target = _find_target(manager, conversation, go_on)
            turn = manager.reply(target, prompt, persona=persona or None, sampling=sampling)
            return await _follow(turn, manager, as_json, kept=not no_log)
        except PromptTooLong as error:
            kept = "" if no_log else " What you wrote is kept; in `chatbot` it can be edited."
            raise PromptTooLong(error.message, hint=f"Shorten it and ask again.{kept}") from None
        finally:
            await manager.close()

    raise typer.Exit(asyncio.run(run()))


def _read_prompt(parts: list[str]) -> str:
    """The arguments joined by spaces, with standard input in place of the first "-"."""
    if "-" in parts:
        if sys.stdin is None:  # closed by the caller
            raise InvalidInput("There is no standard input to read the prompt from.")
        if sys.stdin.isatty():
            typer.echo("Type the prompt; Ctrl-D on an empty line ends it.", err=True)
        data = sys.stdin.buffer.read()
        try:
            piped = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise InvalidInput(
                f"Standard input is not UTF-8: byte {error.start} (line {line}) is 0x{data[error.start]:02x}.",
                hint="Convert it first, for example with `iconv -f latin1 -t utf-8`.",
            ) from None
        place = parts.index("-")
        before, after = " ".join(parts[:place]), " ".join(parts[place + 1 :])
        return "\n\n".join(part for part in (before, piped.strip("\n"), after) if part)
    prompt = " ".join(parts)
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise InvalidInput("The prompt is not UTF-8.", hint="Set the locale to UTF-8, or use standard input.") from None
    return prompt


def _find_target(manager: Manager, conversation: str, go_on: bool) -> str | None:
    if conversation:
        return manager.find_conversation(conversation).id
    if go_on:
        latest = manager.latest_conversation()
        if latest is None:
            raise ChatbotError("There is no conversation to go on with.", hint="Leave out --continue.")
        return latest.id
    return None


async def _follow(turn: AsyncGenerator[TurnEvent, None], manager: Manager, as_json: bool, kept: bool) -> int:
    """Shows one turn; returns the exit code. Ctrl-C and SIGTERM cancel it, and the manager keeps what was said."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    reply: Message | None = None
    try:
        with _waiting(manager) as status:
            async for event in turn:
                reply = _show(event, status, as_json) or reply
    except asyncio.CancelledError:
        await turn.aclose()
        where = f"; what was said is kept in conversation {reply.conversation_id}" if reply and kept else ""
        typer.echo(f"\nStopped{where}.", err=True)
        return 130
    except OSError as error:  # of standard output: the manager raises none
        await turn.aclose()
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python tries again at its end
        if isinstance(error, BrokenPipeError):  # the reader, such as head, has seen enough
            return 141
        raise ChatbotError(f"Standard output cannot be written: {error.strerror}.") from None
    return 0


def _show(event: TurnEvent, status: Status | None, as_json: bool) -> Message | None:
    from chatbot.dialogue.events import ReplyEnded, ReplyStarted, TextAdded

    match event:
        case ReplyStarted(reply=reply, context=context):
            if context.left_out:
                typer.echo(f"({context.left_out} oldest messages no longer fit the model's window)", err=True)
            return reply
        case TextAdded(text=text):
            if status:
                status.stop()
            if not as_json:
                typer.echo(printable(text), nl=False)
                sys.stdout.flush()
        case ReplyEnded(reply=reply):
            if status:
                status.stop()
            if as_json:
                typer.echo(json.dumps(_describe(event), indent=2))
            else:
                typer.echo()
                if reply.finish_reason == "length":
                    typer.echo("(cut off: the longest allowed reply was reached)", err=True)
            return reply
    return None


def _describe(ended: ReplyEnded) -> dict[str, Any]:
    reply = ended.reply
    return {
        "conversation": reply.conversation_id,
        "message": reply.id,
        "title": ended.title,
        "model": reply.model,
        "text": reply.content,
        "status": reply.status,
        "finish_reason": reply.finish_reason,
        **{key: value for key, value in reply.generation.items() if value is not None},
    }


@contextlib.contextmanager
def _waiting(manager: Manager) -> Iterator[Status | None]:
    """A spinner on standard error, for a person only, that tells what the wait is for until the first piece comes."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.status import Status

    async def tell(status: Status) -> None:
        while True:
            health = await manager.engine_health()
            status.update(printable_line(f"{health.status} {health.model}".strip() + "…", 70))
            await asyncio.sleep(0.5)

    with Status("starting…", console=Console(stderr=True, markup=False)) as status:
        teller = asyncio.ensure_future(tell(status))
        try:
            yield status
        finally:
            teller.cancel()
