"""The Alembic revisions of tasks, oldest first."""
