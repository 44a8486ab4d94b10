"""Judgements that can be taken back and say what wrote the reply; the states that queues are sorted by; the search.

`feedback.correction` goes: a correction is a sibling of the reply that it corrects, a message like any other, so that
it is found, redacted and forgotten like one. The states and the search are made empty here: `chatbot.store.migrations`
fills them when all tables are as the program knows them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from chatbot.store.search_tables import CREATE_INDEX

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.String(length=36)
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _change_judgements()
    _add_tables()
    op.drop_index("ix_message_model_version_id", "message")
    op.create_index("ix_message_model", "message", ["model_version_id", "conversation_id"])
    op.create_index(
        "ix_message_unfinished", "message", ["status", "conversation_id"], sqlite_where=sa.text("status <> 'complete'")
    )
    op.create_index("ix_message_parent", "message", ["parent_id"])
    op.create_index("ix_conversation_newest", "conversation", ["deleted", "updated_at", "id"])
    op.create_index("ix_conversation_tip_id", "conversation", ["tip_id"])


def _change_judgements() -> None:
    with op.batch_alter_table("feedback") as table:
        table.drop_column("correction")
        table.alter_column("tags", existing_type=sa.JSON(), nullable=True)
        table.alter_column("comment", existing_type=sa.Text(), nullable=True)
        table.add_column(sa.Column("written_by", sa.JSON(), nullable=False, server_default="{}"))
        table.drop_constraint(op.f("ck_feedback_rating"), type_="check")
        table.create_check_constraint(op.f("ck_feedback_rating"), "rating IN (-1, 0, 1)")
    with op.batch_alter_table("review") as table:
        table.add_column(sa.Column("written_by", sa.JSON(), nullable=False, server_default="{}"))
        table.drop_constraint(op.f("ck_review_decision"), type_="check")
        table.create_check_constraint(
            op.f("ck_review_decision"), "decision IN ('approve', 'reject', 'redact', 'withdraw')"
        )
    for name in ("feedback", "review"):
        with op.batch_alter_table(name) as table:
            table.alter_column("written_by", existing_type=sa.JSON(), existing_nullable=False, server_default=None)


def _add_tables() -> None:
    op.create_table(
        "reply_state",
        sa.Column("message_id", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("waiting", sa.Boolean(), nullable=False),
        sa.Column("concern", sa.Integer(), nullable=False),
        sa.Column("badness", sa.Double(), nullable=False),
        sa.Column("rating", sa.Integer(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name="fk_reply_state_message_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name="fk_reply_state_conversation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message_id", name="pk_reply_state"),
    )
    op.create_index("ix_reply_state_queue", "reply_state", ["waiting", "concern", "badness", "message_id"])
    op.create_index("ix_reply_state_rating", "reply_state", ["rating", "conversation_id"])
    op.create_index("ix_reply_state_decision", "reply_state", ["decision", "conversation_id"])
    op.create_index("ix_reply_state_conversation", "reply_state", ["conversation_id", "rating", "decision"])
    op.create_table(
        "imported_record",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name="fk_imported_record_conversation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key", name="pk_imported_record"),
    )
    op.create_index("ix_imported_record_conversation_id", "imported_record", ["conversation_id"])
    op.create_table(
        "search_entry",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name="fk_search_entry_message_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("number", name="pk_search_entry"),
    )
    op.create_index("ix_search_entry_message_id", "search_entry", ["message_id"])
    if op.get_bind().dialect.name == "sqlite":
        op.execute(CREATE_INDEX)
