"""The Alembic revisions of workflows, oldest first."""
