"""Groups, crashes, presence of nodes; keys, schedules, ticks, locks; the view for autoscalers."""

from collections.abc import Mapping

import sqlalchemy as sa
from alembic import op

from nocohost.store.types import Instant

revision = "0002"
down_revision = "0001"

ID = sa.Uuid(as_uuid=False)
PENDING = sa.text("state = 'pending'")
DUE = sa.text("state = 'pending' AND \"group\" IS NULL")
GROUPED = sa.text('"group" IS NOT NULL')
GROUP_RUNS = sa.text("state = 'running' AND \"group\" IS NOT NULL")
NOW: Mapping[str, str] = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    "postgresql": "clock_timestamp()",
}
AGE: Mapping[str, str] = {
    "sqlite": "({now} - MIN({due})) / 1000000.0",
    "postgresql": "EXTRACT(EPOCH FROM {now} - MIN({due}))",
}


RUNNABLE = """(
    j.state = 'pending' AND j.run_at <= {now}
    AND NOT EXISTS (SELECT 1 FROM nocohost_keys AS k WHERE k.key = j.key AND k.paused_at IS NOT NULL)
    AND (j."group" IS NULL OR (
        NOT EXISTS (SELECT 1 FROM nocohost_jobs AS r
                    WHERE r.key = j.key AND r."group" = j."group" AND r.state = 'running')
        AND NOT EXISTS (SELECT 1 FROM nocohost_jobs AS h
                        WHERE h.key = j.key AND h."group" = j."group" AND (h.enqueued_at, h.id) < (j.enqueued_at, j.id))
    )))"""
"""Due, under a key that is not paused, and the first of its group, of which none runs: one more slot would start it."""


def upgrade() -> None:
    """Add what the queue's policies, schedules and the view of the cluster need."""
    change_jobs()
    create_keys()
    create_schedules()
    create_locks()
    create_view()


def change_jobs() -> None:
    """Count crashes, order groups, and note by what a node shows its presence."""
    op.add_column("nocohost_jobs", sa.Column("crashes", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.add_column("nocohost_history", sa.Column("crashes", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.add_column("nocohost_nodes", sa.Column("presence", sa.BigInteger))
    op.add_column(
        "nocohost_nodes", sa.Column("stop_requested", sa.Boolean, nullable=False, server_default=sa.text("false"))
    )
    op.drop_index("nocohost_jobs_due", "nocohost_jobs")
    for name, columns, where, unique in (
        ("nocohost_jobs_due", ["key", "priority", "run_at", "id"], DUE, False),
        ("nocohost_jobs_group", ["key", "group", "enqueued_at", "id"], GROUPED, False),
        ("nocohost_jobs_group_running", ["key", "group"], GROUP_RUNS, True),
    ):
        op.create_index(name, "nocohost_jobs", columns, unique=unique, postgresql_where=where, sqlite_where=where)


def create_keys() -> None:
    """Create what holds of a key in the whole cluster."""
    op.create_table(
        "nocohost_keys",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("paused_at", Instant),
        sa.Column("paused_by", sa.Text),
        sa.Column("drain_until", Instant),
        sa.Column("first_served_at", Instant),
        sa.Column("last_served_at", Instant),
    )


def create_schedules() -> None:
    """Create the schedules and their ticks."""
    op.create_table(
        "nocohost_schedules",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("cron", sa.Text),
        sa.Column("timezone", sa.Text, nullable=False),
        sa.Column("interval_seconds", sa.Float),
        sa.Column("catch_up", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("paused_at", Instant),
        sa.Column("next_at", Instant),
        sa.Column("last_at", Instant),
        sa.Column("changed_at", Instant, nullable=False),
    )
    op.create_index("nocohost_schedules_next", "nocohost_schedules", ["key", "next_at"])
    op.create_table(
        "nocohost_ticks",
        sa.Column("schedule", sa.Text, primary_key=True),
        sa.Column("tick_at", Instant, primary_key=True),
        sa.Column("job_id", ID, nullable=False),
        sa.Column("fired_at", Instant, nullable=False),
    )
    op.create_index("nocohost_ticks_fired", "nocohost_ticks", ["fired_at"])


def create_locks() -> None:
    """Create the locks."""
    op.create_table(
        "nocohost_locks",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", ID),
        sa.Column("node_id", ID),
        sa.Column("fence", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("lease_until", Instant),
    )


def create_view() -> None:
    """Create the view that autoscalers read: ``nocohost_scaling(key, runnable, running, oldest_seconds)``."""
    dialect = op.get_bind().dialect.name
    due = "CASE WHEN runnable THEN run_at END"
    op.execute(
        f"""CREATE VIEW nocohost_scaling AS
        SELECT key,
               COUNT({due}) AS runnable,
               COUNT(CASE WHEN state = 'running' THEN 1 END) AS running,
               COALESCE({AGE[dialect].format(now=NOW[dialect], due=due)}, 0) AS oldest_seconds
        FROM (SELECT j.key, j.state, j.run_at, {RUNNABLE.format(now=NOW[dialect])} AS runnable
              FROM nocohost_jobs AS j) AS judged
        GROUP BY key"""  # noqa: S608 - made of the constants above
    )


def downgrade() -> None:
    """Take everything back."""
    op.execute("DROP VIEW nocohost_scaling")
    for table in ("locks", "ticks", "schedules", "keys"):
        op.drop_table(f"nocohost_{table}")
    for index in ("nocohost_jobs_group_running", "nocohost_jobs_group", "nocohost_jobs_due"):
        op.drop_index(index, "nocohost_jobs")
    due = ["key", "priority", "run_at", "id"]
    op.create_index("nocohost_jobs_due", "nocohost_jobs", due, postgresql_where=PENDING, sqlite_where=PENDING)
    op.drop_column("nocohost_nodes", "stop_requested")
    op.drop_column("nocohost_nodes", "presence")
    op.drop_column("nocohost_history", "crashes")
    op.drop_column("nocohost_jobs", "crashes")
