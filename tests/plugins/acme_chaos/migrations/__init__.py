"""The migration set of the bench's plugin."""

RUNNABLE_FROM = "1.0"
