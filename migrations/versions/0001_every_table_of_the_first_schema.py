"""Every table of the first schema: what was said (conversation, message, draft) and the whole learning cycle.

The tables of the cycle stand here from the start, so that what is said today can be traced from the adapter that it
trains tomorrow.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.String(length=36)
MOMENT = sa.DateTime(timezone=True)


def texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def foreign(table: str, column: str, target: str, **more: Any) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}", **more)


def upgrade() -> None:
    op.create_table(
        "conversation",
        sa.Column("id", ID, nullable=False),
        *texts("title", "title_key", "persona", "system_prompt"),
        sa.Column("sampling", sa.JSON(), nullable=False),
        sa.Column("tip_id", ID, nullable=True),
        sa.Column("pinned", sa.Boolean(), nullable=False),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        foreign("conversation", "tip_id", "message.id", ondelete="SET NULL", use_alter=True),
        sa.PrimaryKeyConstraint("id", name="pk_conversation"),
    )
    op.create_index("ix_conversation_list", "conversation", ["deleted", "archived", "pinned", "updated_at", "id"])
    op.create_table(
        "dataset",
        sa.Column("id", ID, nullable=False),
        *texts("name", "kind"),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("kind IN ('sft', 'preference', 'label', 'text')", name=op.f("ck_dataset_kind")),
        sa.PrimaryKeyConstraint("id", name="pk_dataset"),
        sa.UniqueConstraint("name", name="uq_dataset_name"),
    )
    op.create_table(
        "draft",
        sa.Column("conversation_key", ID, nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("conversation_key", name="pk_draft"),
    )
    op.create_table(
        "model_version",
        sa.Column("id", ID, nullable=False),
        *texts("kind", "name"),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("run_id", ID, nullable=True),
        *texts("path", "sha256", "base_sha", "template_sha", "tokenizer_sha"),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("kind IN ('base', 'adapter', 'classifier')", name=op.f("ck_model_version_kind")),
        foreign("model_version", "run_id", "run.id", use_alter=True),
        sa.PrimaryKeyConstraint("id", name="pk_model_version"),
        sa.UniqueConstraint("name", "number", name="uq_model_version_name_number"),
    )
    op.create_index("ix_model_version_run_id", "model_version", ["run_id"])
    op.create_table(
        "alias",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model_version_id", ID, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.CheckConstraint("name IN ('champion', 'previous', 'candidate')", name=op.f("ck_alias_name")),
        foreign("alias", "model_version_id", "model_version.id"),
        sa.PrimaryKeyConstraint("name", name="pk_alias"),
    )
    op.create_index("ix_alias_model_version_id", "alias", ["model_version_id"])
    op.create_table(
        "alias_event",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("from_version_id", ID, nullable=True),
        sa.Column("to_version_id", ID, nullable=True),
        *texts("author", "reason"),
        sa.Column("created_at", MOMENT, nullable=False),
        foreign("alias_event", "from_version_id", "model_version.id"),
        foreign("alias_event", "to_version_id", "model_version.id"),
        sa.PrimaryKeyConstraint("id", name="pk_alias_event"),
    )
    op.create_index("ix_alias_event_from_version_id", "alias_event", ["from_version_id"])
    op.create_index("ix_alias_event_name", "alias_event", ["name"])
    op.create_index("ix_alias_event_to_version_id", "alias_event", ["to_version_id"])
    op.create_table(
        "dataset_version",
        sa.Column("id", ID, nullable=False),
        sa.Column("dataset_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("recipe", sa.JSON(), nullable=False),
        *texts("template_sha", "tokenizer_sha"),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        foreign("dataset_version", "dataset_id", "dataset.id"),
        sa.PrimaryKeyConstraint("id", name="pk_dataset_version"),
        sa.UniqueConstraint("dataset_id", "number", name="uq_dataset_version_dataset_id_number"),
    )
    op.create_index("ix_dataset_version_dataset_id", "dataset_version", ["dataset_id"])
    op.create_table(
        "evaluation",
        sa.Column("id", ID, nullable=False),
        sa.Column("model_version_id", ID, nullable=False),
        sa.Column("baseline_id", ID, nullable=True),
        *texts("suite", "suite_version", "settings_sha", "metric"),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("stderr", sa.Double(), nullable=True),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        foreign("evaluation", "baseline_id", "evaluation.id", ondelete="SET NULL"),
        foreign("evaluation", "model_version_id", "model_version.id"),
        sa.PrimaryKeyConstraint("id", name="pk_evaluation"),
    )
    op.create_index("ix_evaluation_baseline_id", "evaluation", ["baseline_id"])
    op.create_index("ix_evaluation_model_version_id", "evaluation", ["model_version_id"])
    op.create_index("ix_evaluation_suite", "evaluation", ["suite", "metric"])
    op.create_table(
        "message",
        sa.Column("id", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("parent_id", ID, nullable=True),
        sa.Column("hidden", sa.Boolean(), nullable=False),
        *texts("role", "status", "finish_reason", "writer"),
        sa.Column("model_version_id", ID, nullable=True),
        sa.Column("template_sha", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("generation", sa.JSON(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.CheckConstraint("role IN ('system', 'user', 'assistant')", name=op.f("ck_message_role")),
        sa.CheckConstraint(
            "status IN ('streaming', 'complete', 'stopped', 'failed', 'interrupted')", name=op.f("ck_message_status")
        ),
        sa.CheckConstraint("parent_id <> id", name=op.f("ck_message_own_parent")),
        foreign("message", "conversation_id", "conversation.id", ondelete="CASCADE"),
        foreign("message", "model_version_id", "model_version.id"),
        foreign("message", "parent_id", "message.id"),
        sa.PrimaryKeyConstraint("id", name="pk_message"),
    )
    op.create_index("ix_message_children", "message", ["conversation_id", "parent_id", "id", "hidden"])
    op.create_index("ix_message_model_version_id", "message", ["model_version_id"])
    op.create_index("ix_message_prompts", "message", ["role", "id"])
    op.create_index("ix_message_streaming", "message", ["writer"], sqlite_where=sa.text("status = 'streaming'"))
    op.create_table(
        "run",
        sa.Column("id", ID, nullable=False),
        *texts("kind", "base_model"),
        sa.Column("parent_version_id", ID, nullable=True),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        *texts("device", "status"),
        sa.Column("resumed_from_id", ID, nullable=True),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "status IN ('planned', 'running', 'complete', 'stopped', 'failed')", name=op.f("ck_run_status")
        ),
        foreign("run", "parent_version_id", "model_version.id"),
        foreign("run", "resumed_from_id", "run.id"),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
    )
    op.create_index("ix_run_parent_version_id", "run", ["parent_version_id"])
    op.create_index("ix_run_resumed_from_id", "run", ["resumed_from_id"])
    op.create_table(
        "dataset_item",
        sa.Column("id", ID, nullable=False),
        sa.Column("dataset_version_id", ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        *texts("split", "group_key", "content_sha"),
        sa.Column("source_conversation_id", ID, nullable=True),
        sa.CheckConstraint("split IN ('train', 'validation', 'test')", name=op.f("ck_dataset_item_split")),
        foreign("dataset_item", "dataset_version_id", "dataset_version.id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_dataset_item"),
        sa.UniqueConstraint("dataset_version_id", "position", name="uq_dataset_item_dataset_version_id_position"),
    )
    op.create_index("ix_dataset_item_source_conversation_id", "dataset_item", ["source_conversation_id"])
    op.create_table(
        "evaluation_item",
        sa.Column("evaluation_id", ID, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        *texts("prompt", "output"),
        sa.Column("verdict", sa.JSON(), nullable=False),
        foreign("evaluation_item", "evaluation_id", "evaluation.id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("evaluation_id", "position", name="pk_evaluation_item"),
    )
    op.create_table(
        "feedback",
        sa.Column("id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("rating", sa.Integer(), nullable=True),
        sa.Column("tags", sa.JSON(), nullable=False),
        *texts("comment", "correction"),
        sa.Column("preferred_over_id", ID, nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("rating IN (-1, 1)", name=op.f("ck_feedback_rating")),
        foreign("feedback", "message_id", "message.id", ondelete="CASCADE"),
        foreign("feedback", "preferred_over_id", "message.id", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_feedback"),
    )
    op.create_index("ix_feedback_message_id", "feedback", ["message_id"])
    op.create_index("ix_feedback_preferred_over_id", "feedback", ["preferred_over_id"])
    op.create_table(
        "label",
        sa.Column("id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        *texts("kind", "value"),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        foreign("label", "message_id", "message.id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_label"),
    )
    op.create_index("ix_label_kind", "label", ["kind", "value"])
    op.create_index("ix_label_message_id", "label", ["message_id"])
    op.create_table(
        "review",
        sa.Column("id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        *texts("decision", "note", "author"),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("decision IN ('approve', 'reject', 'redact')", name=op.f("ck_review_decision")),
        foreign("review", "message_id", "message.id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_review"),
    )
    op.create_index("ix_review_message_id", "review", ["message_id"])
    op.create_table(
        "run_input",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("dataset_version_id", ID, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.CheckConstraint("role IN ('train', 'validation', 'replay')", name=op.f("ck_run_input_role")),
        foreign("run_input", "dataset_version_id", "dataset_version.id"),
        foreign("run_input", "run_id", "run.id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "dataset_version_id", "role", name="pk_run_input"),
    )
    op.create_table(
        "run_metric",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        foreign("run_metric", "run_id", "run.id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "name", "step", name="pk_run_metric"),
    )
    op.create_table(
        "safety_event",
        sa.Column("id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        *texts("stage", "category"),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("stage IN ('input', 'output')", name=op.f("ck_safety_event_stage")),
        foreign("safety_event", "message_id", "message.id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_safety_event"),
    )
    op.create_index("ix_safety_event_message_id", "safety_event", ["message_id"])
    op.create_table(
        "dataset_item_message",
        sa.Column("dataset_item_id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        foreign("dataset_item_message", "dataset_item_id", "dataset_item.id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("dataset_item_id", "message_id", name="pk_dataset_item_message"),
    )
    op.create_index("ix_dataset_item_message_message_id", "dataset_item_message", ["message_id"])

    if op.get_bind().dialect.supports_alter:
        # Two pairs of tables point at each other. SQLite took these keys above, before their targets stood.
        op.create_foreign_key(
            "fk_conversation_tip_id", "conversation", "message", ["tip_id"], ["id"], ondelete="SET NULL"
        )
        op.create_foreign_key("fk_model_version_run_id", "model_version", "run", ["run_id"], ["id"])


def downgrade() -> None:
    raise NotImplementedError("a database is taken back by restoring the backup made before its migration")
