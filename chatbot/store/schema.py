"""All tables in one place: who imports SCHEMA has every module of tables loaded, and so nothing is missing from it."""

from __future__ import annotations

from chatbot.store import judgement_tables, learning_tables, search_tables, tables

__all__ = ["SCHEMA", "judgement_tables", "learning_tables", "search_tables"]

SCHEMA = tables.Row.metadata
