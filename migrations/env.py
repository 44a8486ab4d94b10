"""How Alembic reaches the database: on the connection and in the transaction that `chatbot.store.migrations` opened.

For a developer who writes the next migration, `alembic revision --autogenerate --rev-id 0002 -m "…"` works too; it
compares the tables with the database named by `-x url=…`.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from chatbot.store.schema import SCHEMA
from chatbot.store.search_tables import is_ours
from chatbot.store.sessions import Database


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=SCHEMA,
        include_name=is_ours,
        render_as_batch=connection.dialect.name == "sqlite",
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


if (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    database = Database(context.get_x_argument(as_dictionary=True)["url"], foreign_keys=False)
    with database.write() as opened:
        run(opened)
    database.close()
