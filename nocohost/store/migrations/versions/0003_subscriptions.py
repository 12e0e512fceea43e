"""Subscriptions to the changes of resources."""

import sqlalchemy as sa
from alembic import op

from nocohost.store.types import Instant

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table of standing orders."""
    op.create_table(
        "nocohost_subscriptions",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("changes", sa.JSON, nullable=False),
        sa.Column("fields", sa.JSON, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("changed_at", Instant, nullable=False),
    )
    op.create_index("nocohost_subscriptions_resource", "nocohost_subscriptions", ["resource"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("nocohost_subscriptions")
