"""The `chatbot` command: opens the chat when nothing else is asked, and gathers the groups of commands.

Commands import what they need when they run, so that the chat's first frame does not wait for libraries that only
another command uses.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from chatbot import __version__
from chatbot.cli import ask, config, db, doctor, explain, models, serve
from chatbot.cli.late import LateGroup
from chatbot.errors import ChatbotError
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.dialogue.manager import Manager

EXIT_CODES = """Exit codes: 0 done · 1 something failed · 2 wrong usage · 3 settings · 4 database · 5 not found ·
6 model · 7 engine · 8 input that cannot be used · 9 learning · 130 stopped with Ctrl-C."""

app = typer.Typer(
    name="chatbot",
    cls=LateGroup,
    epilog=EXIT_CODES,
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"chatbot {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def chat(
    context: typer.Context,
    conversation: Annotated[
        str, typer.Option("--conversation", "-c", metavar="ID", help="Open this conversation; the id may be shortened.")
    ] = "",
    last: Annotated[bool, typer.Option("--continue", help="Open the newest conversation.")] = False,
    persona: Annotated[
        str, typer.Option("--persona", "-p", metavar="NAME", help="The persona of new conversations.")
    ] = "",
    model: Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="The model that answers.")] = "",
    version: Annotated[  # noqa: ARG001  the callback prints it
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A chatbot that you own. Without a command it opens the chat.

    Examples:

    \b
      chatbot                        open the chat
      chatbot --continue             open it where you left it
      chatbot ask "Why is the sky blue?"
      chatbot doctor                 when something does not work
    """
    if context.invoked_subcommand:
        return
    from chatbot.config import find_home, load_settings

    home = find_home()
    flags = {name: value for name, value in (("persona", persona), ("model", model)) if value}
    settings = load_settings(home, **flags)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ChatbotError(
            "The chat needs a terminal.", hint='Without one, use `chatbot ask "…"`, or `chatbot --help`.'
        )
    from chatbot.terminal.app import run_chat

    def open_with_model() -> Manager:
        from chatbot.dialogue.opening import open_manager

        return open_manager(settings, home, model=model)

    raise typer.Exit(
        run_chat(settings, home, conversation=conversation or None, latest=last, open_manager=open_with_model)
    )


app.command(name="ask")(ask.ask)
app.command(name="explain")(explain.explain)
app.command(name="serve")(serve.serve)
app.command(name="doctor")(doctor.doctor)
app.add_typer(models.app, name="models")
app.add_typer(config.app, name="config")
app.add_typer(db.app, name="db")


def run() -> None:
    """Runs the command line; an error of ours becomes one line and its exit code, any other keeps its traceback."""
    try:
        app()
    except ChatbotError as error:
        typer.echo(f"chatbot: {printable_line(str(error))}", err=True)
        sys.exit(error.exit_code)
