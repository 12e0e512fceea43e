"""The shop's migration set: Alembic revisions in ``versions/``, and the oldest version that may run on them."""

RUNNABLE_FROM = "1.0.0"
