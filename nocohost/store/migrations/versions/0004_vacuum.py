"""Vacuum the hot table early on PostgreSQL: each claim walks past what has ended since the last time."""

from collections.abc import Mapping

from alembic import op

revision = "0004"
down_revision = "0003"

# Spelt out, not taken from the schema of today: a migration stays as it was.
SETTINGS: Mapping[str, str] = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_vacuum_cost_delay": "0",
    "autovacuum_analyze_scale_factor": "0.05",
    "autovacuum_analyze_threshold": "1000",
}


def upgrade() -> None:
    """Set it for the one table whose rows live for moments."""
    if op.get_context().dialect.name == "postgresql":
        settings = ", ".join(f"{name} = {value}" for name, value in SETTINGS.items())
        op.execute(f"ALTER TABLE nocohost_jobs SET ({settings})")


def downgrade() -> None:
    """Go back to what the server does with every table."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE nocohost_jobs RESET ({', '.join(SETTINGS)})")
