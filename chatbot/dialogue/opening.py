"""Opening the dialogue as the commands do: the store at the newest schema, the engine's client, the manager."""

from __future__ import annotations

from chatbot.config import Home, Settings
from chatbot.dialogue.manager import Manager
from chatbot.store.database import Store
from chatbot.store.migrations import open_upgraded


def open_manager(settings: Settings, home: Home, *, in_memory: bool = False, model: str = "") -> Manager:
    """`in_memory` keeps nothing once the manager is closed; `model` answers every turn, whatever is promoted.
    Raises StoreError, ConfigError."""
    from chatbot.engine.client import connect_engine

    store = Store.in_memory() if in_memory else open_upgraded(home.database_url(settings))
    try:
        return Manager(store, connect_engine(settings, home), settings=settings, home=home, model=model)
    except BaseException:
        store.close()
        raise
