"""Tasks, and the row errors that they leave."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create both tables."""
    instant = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")
    op.create_table(
        "async_task_tasks",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("params", sa.JSON, nullable=False),
        sa.Column("upload", sa.Text),
        sa.Column("upload_name", sa.Text),
        sa.Column("request", sa.String(64)),
        sa.Column("digest", sa.String(64)),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("tag", sa.BigInteger, nullable=False),
        sa.Column("job_id", sa.String(36), nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("progress", sa.JSON),
        sa.Column("checkpoint", sa.JSON().with_variant(sa.Text(), "sqlite")),
        sa.Column("row_errors", sa.Integer, nullable=False),
        sa.Column("result_file", sa.JSON),
        sa.Column("result", sa.JSON().with_variant(sa.Text(), "sqlite")),
        sa.Column("error", sa.Text),
        sa.Column("node", sa.Text),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("started_at", instant),
        sa.Column("finished_at", instant),
        sa.Index("async_task_of_owner", "owner", "id"),
        sa.Index("async_task_waiting", "state", "tag"),
        sa.Index("async_task_waiting_of_owner", "owner", "state", "tag"),
        sa.Index("async_task_finished", "finished_at"),
        sa.Index("async_task_request", "owner", "request", unique=True),
    )
    op.create_table(
        "async_task_row_errors",
        sa.Column("task_id", sa.String(36), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("row", sa.BigInteger, nullable=False),
        sa.Column("field", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("async_task_row_errors")
    op.drop_table("async_task_tasks")
