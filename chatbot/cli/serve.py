"""`chatbot serve`: the engine as a server, for our own chats on a private socket or for others on a network address."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated, Any

import typer

from chatbot.errors import ChatbotError
from chatbot.text import printable_line

_LEAVE_SECONDS = 60.0


def serve(
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Serve on this address instead of the private socket.")
    ] = "",
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="The port, 8000 by default; 0 takes a free one.")
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="The model to load first.")] = "",
    stop: Annotated[bool, typer.Option("--stop", help="Ask the private engine to leave.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Tell whether the private engine runs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts, with --status.")] = False,
) -> None:
    """Serves the OpenAI chat protocol. The chat starts a private engine by itself; this is for other programs.

    Off the loopback a token is required: CHATBOT_ENGINE_TOKEN.

    Examples:

    \b
      chatbot serve --port 8080           on http://127.0.0.1:8080/v1
      chatbot serve --status              the private engine of the chats
      chatbot serve --stop
    """
    from chatbot.config import find_home, load_settings

    home = find_home()
    settings = load_settings(home)
    if status or stop:
        raise typer.Exit(asyncio.run(_ask_private(home, settings, stop=stop, as_json=as_json)))
    from chatbot.engine.process import ALREADY_SERVED, Plan, serve_network, serve_private
    from chatbot.models.library import ModelLibrary

    if model:
        ModelLibrary(home.models).find(model)  # told here, not only to the first request
    plan = Plan(home, settings.engine, model or settings.model)
    if host or port is not None:
        code = serve_network(plan, host or "127.0.0.1", 8000 if port is None else port, typer.echo)
    else:
        code = serve_private(plan, announce=lambda path: typer.echo(f"Serving on {path}; Ctrl-C ends it."))
        if code == ALREADY_SERVED:
            raise ChatbotError("A private engine runs already.", hint="`chatbot serve --stop` ends it.")
    raise typer.Exit(code)


async def _ask_private(home: Any, settings: Any, *, stop: bool, as_json: bool) -> int:
    from chatbot.engine.client import EngineClient
    from chatbot.engine.process import can_connect

    client = EngineClient(settings.engine.model_copy(update={"url": ""}), home)
    try:
        running = can_connect(home.engine_socket)
        health = await client.health()
        if stop and running:
            await client.leave()
            end = time.monotonic() + _LEAVE_SECONDS
            while running := can_connect(home.engine_socket):
                if time.monotonic() > end:
                    break
                await asyncio.sleep(0.05)
            if as_json:
                typer.echo(json.dumps({"running": running, "socket": str(home.engine_socket)}, indent=2))
            else:
                typer.echo("It leaves as soon as its reply is done." if running else "The private engine left.")
        elif as_json:
            told = {"running": running, "status": health.status, "detail": health.detail, "model": health.model}
            typer.echo(json.dumps({**told, "socket": str(home.engine_socket)}, indent=2))
        elif running:
            typer.echo(f"{health.status}: {printable_line(f'{health.model} on {health.detail}')}")
        else:
            typer.echo("No private engine runs.")
        return 0
    finally:
        await client.close()
