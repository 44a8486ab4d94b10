"""Groups of commands that are loaded when they are asked for.

`chatbot` alone opens the chat, whose first frame nothing should hold up: reading and building the twenty commands of
`chatbot logs` took a seventh of the time until a key is echoed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from typer.core import TyperGroup

LATE = {"review": "chatbot.cli.review", "logs": "chatbot.cli.logs", "admin": "chatbot.cli.admin"}
"""The name of a command and the module whose `app` it is."""


class LateGroup(TyperGroup):
    """A group to which the commands in LATE belong as well, after the others."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*(name for name in super().list_commands(ctx) if name not in LATE), *LATE]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in LATE and cmd_name not in self.commands:
            from typer.main import get_command

            command = get_command(import_module(LATE[cmd_name]).app)
            command.name = cmd_name
            self.commands[cmd_name] = command
        return super().get_command(ctx, cmd_name)
