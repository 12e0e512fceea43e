"""Workflows and their versions, executions and their steps, and signals."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

INSTANT = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")
VALUE = sa.JSON().with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    for table in (_create_workflows, _create_executions, _create_steps):
        table()


def _create_workflows() -> None:
    op.create_table(
        "workflow_workflows",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("latest", sa.Integer, nullable=False),
        sa.Column("enabled", sa.Integer),
        sa.Column("trigger_type", sa.String(16)),
        sa.Column("hook", sa.String(64)),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Index("workflow_hook", "hook"),
    )
    op.create_table(
        "workflow_versions",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("definition", sa.JSON, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("ticks", sa.Integer, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
    )


def _create_executions() -> None:
    op.create_table(
        "workflow_executions",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("workflow", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("trigger", sa.JSON, nullable=False),
        sa.Column("output", VALUE),
        sa.Column("driver", sa.String(36)),
        sa.Column("pokes", sa.Integer, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("timer", sa.String(36)),
        sa.Column("timer_at", INSTANT),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("depth", sa.Integer, nullable=False),
        sa.Column("parent", sa.String(36)),
        sa.Column("parent_path", sa.Text),
        sa.Column("parent_iteration", sa.Text),
        sa.Column("request", sa.String(64)),
        sa.Column("digest", sa.String(64)),
        sa.Column("waited", sa.Boolean, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("started_at", INSTANT),
        sa.Column("deadline_at", INSTANT),
        sa.Column("finished_at", INSTANT),
        sa.Index("workflow_executions_of", "workflow", "id"),
        sa.Index("workflow_executions_state", "state", "id"),
        sa.Index("workflow_executions_finished", "finished_at"),
        sa.Index("workflow_executions_request", "request", unique=True),
        sa.Index("workflow_executions_parent", "parent"),
    )


def _create_steps() -> None:
    op.create_table(
        "workflow_steps",
        sa.Column("execution", sa.String(36), primary_key=True),
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("iteration", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("input", VALUE),
        sa.Column("output", VALUE),
        sa.Column("error", VALUE),
        sa.Column("cursor", VALUE),
        sa.Column("node", sa.Text),
        sa.Column("reference", sa.Text),
        sa.Column("wake_at", INSTANT),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT),
        sa.Index("workflow_steps_waiting", "state", "type"),
    )
    op.create_table(
        "workflow_signals",
        sa.Column("execution", sa.String(36), primary_key=True),
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("value", VALUE),
        sa.Column("sent_by", sa.Text, nullable=False),
        sa.Column("sent_at", INSTANT, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables."""
    for name in ("signals", "steps", "executions", "versions", "workflows"):
        op.drop_table(f"workflow_{name}")
