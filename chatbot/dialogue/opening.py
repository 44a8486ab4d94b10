"""Opening the dialogue as the commands do: the store at the newest schema, the engine's client, the manager."""

from __future__ import annotations

from chatbot.config import Home, Settings
from chatbot.dialogue.manager import Manager
from chatbot.engine.protocol import Engine
from chatbot.errors import StoreError
from chatbot.store.database import Store
from chatbot.store.migrations import open_upgraded


def open_engine(settings: Settings, home: Home) -> Engine:
    """The client of the engine that serves the chats; it is started at the first request."""
    from chatbot.engine.client import connect_engine

    return connect_engine(settings, home)


def open_manager(settings: Settings, home: Home, *, in_memory: bool = False, model: str = "") -> Manager:
    """`in_memory` keeps nothing once the manager is closed, but what was promoted answers there too; `model` answers
    every turn, whatever is promoted. Raises StoreError, ConfigError."""
    if in_memory and (champion := read_champion(settings, home)):
        settings = settings.model_copy(update={"model": champion})
    store = Store.in_memory() if in_memory else open_upgraded(home.database_url(settings))
    try:
        return Manager(store, open_engine(settings, home), settings=settings, home=home, model=model)
    except BaseException:
        store.close()
        raise


def read_champion(settings: Settings, home: Home) -> str | None:
    """The name of what was promoted, if there is a database that can tell; none is made or changed."""
    try:
        with Store.open(home.database_url(settings)) as store:
            return store.model_versions.champion()
    except StoreError:
        return None
