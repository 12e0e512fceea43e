"""Jobs, history, idempotency keys, nodes, limits, tokens."""

import sqlalchemy as sa
from alembic import op

from nocohost.store.types import Instant

revision = "0001"
down_revision = None

PENDING = sa.text("state = 'pending'")
NOT_DEAD = sa.text("state <> 'dead'")
RUNNING = sa.text("state = 'running'")
NOT_REVOKED = sa.text("revoked_at IS NULL")
ID = sa.Uuid(as_uuid=False)


def upgrade() -> None:
    """Create every table of the first storey."""
    create_jobs()
    create_history()
    create_cluster()
    create_access()


def create_jobs() -> None:
    """Create the hot table and the idempotency keys."""
    op.create_table(
        "nocohost_jobs",
        sa.Column("id", ID, primary_key=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("group", sa.Text),
        sa.Column("run_at", Instant, nullable=False),
        sa.Column("enqueued_at", Instant, nullable=False),
        sa.Column("started_at", Instant),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("losses", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("fence", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("claim_id", ID),
        sa.Column("node_id", ID),
        sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("progress", sa.JSON),
        sa.Column("last_error", sa.Text),
    )
    due = ["key", "priority", "run_at", "id"]
    op.create_index("nocohost_jobs_due", "nocohost_jobs", due, postgresql_where=PENDING, sqlite_where=PENDING)
    op.create_index("nocohost_jobs_held", "nocohost_jobs", ["node_id"], postgresql_where=RUNNING, sqlite_where=RUNNING)
    op.create_table(
        "nocohost_idempotency",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("idempotency_key", sa.Text, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("job_id", ID, nullable=False),
        sa.Column("unique_seconds", sa.Float, nullable=False),
        sa.Column("expires_at", Instant),
    )
    op.create_index("nocohost_idempotency_expiry", "nocohost_idempotency", ["expires_at"])


def create_history() -> None:
    """Create the table of jobs that are over."""
    op.create_table(
        "nocohost_history",
        sa.Column("id", ID, primary_key=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("group", sa.Text),
        sa.Column("run_at", Instant, nullable=False),
        sa.Column("enqueued_at", Instant, nullable=False),
        sa.Column("started_at", Instant),
        sa.Column("finished_at", Instant, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("losses", sa.Integer, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("node_id", ID),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("progress", sa.JSON),
        sa.Column("value", sa.JSON().with_variant(sa.Text(), "sqlite")),
        sa.Column("last_error", sa.Text),
    )
    op.create_index(
        "nocohost_history_finished",
        "nocohost_history",
        ["finished_at"],
        postgresql_where=NOT_DEAD,
        sqlite_where=NOT_DEAD,
    )
    op.create_index("nocohost_history_state", "nocohost_history", ["key", "state", "finished_at"])


def create_cluster() -> None:
    """Create the nodes and the cluster-wide limits."""
    op.create_table(
        "nocohost_nodes",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("requests", sa.Boolean, nullable=False),
        sa.Column("services", sa.JSON, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("started_at", Instant, nullable=False),
        sa.Column("beat_at", Instant, nullable=False),
        sa.Column("lease_until", Instant, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("plugins", sa.JSON, nullable=False),
        sa.Column("address", sa.Text),
    )
    op.create_index("nocohost_nodes_lease", "nocohost_nodes", ["lease_until"])
    op.create_table(
        "nocohost_limits",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("concurrency", sa.Integer),
        sa.Column("rate_count", sa.Integer),
        sa.Column("rate_seconds", sa.Float),
        sa.Column("available", sa.Float),
        sa.Column("refilled_at", Instant),
    )


def create_access() -> None:
    """Create the tokens, and the notes of who migrated what."""
    op.create_table(
        "nocohost_tokens",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("expires_at", Instant),
        sa.Column("revoked_at", Instant),
    )
    op.create_index(
        "nocohost_tokens_name",
        "nocohost_tokens",
        ["name"],
        unique=True,
        postgresql_where=NOT_REVOKED,
        sqlite_where=NOT_REVOKED,
    )
    op.create_table(
        "nocohost_migrations",
        sa.Column("plugin", sa.Text, primary_key=True),
        sa.Column("distribution", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("runnable_from", sa.Text, nullable=False),
        sa.Column("upgraded_at", Instant, nullable=False),
    )


def downgrade() -> None:
    """Drop every table of the first storey."""
    for table in ("migrations", "tokens", "limits", "nodes", "history", "idempotency", "jobs"):
        op.drop_table(f"nocohost_{table}")
