"""An index of the jobs whose next attempt must run in a child of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create it; there are few such jobs at a time, and most often none."""
    where = sa.text("state = 'pending' AND (losses > 1 OR crashes > 0)")
    op.create_index(
        "nocohost_jobs_apart",
        "nocohost_jobs",
        ["key", "priority", "run_at", "id"],
        postgresql_where=where,
        sqlite_where=where,
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_index("nocohost_jobs_apart", "nocohost_jobs")
