"""What was said, judged and derived, in one database.

`open_store` is the way in. This module imports nothing, because the terminal draws its first frame before it loads
SQLAlchemy and yet needs `records`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatbot.store.database import Store


def open_store(url: str) -> Store:
    """The store at an SQLAlchemy URL. Raises StoreError; `migrations.open_upgraded` brings an older one up first."""
    from chatbot.store.database import Store

    return Store.open(url)
