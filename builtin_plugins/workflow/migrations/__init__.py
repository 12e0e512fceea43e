"""The migration set of workflows: Alembic revisions in ``versions/``, and the oldest version that may run on them."""

RUNNABLE_FROM = "0.1.0"
