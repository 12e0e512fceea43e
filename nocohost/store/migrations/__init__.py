"""The migration set of nocohost's own tables."""

RUNNABLE_FROM = "0.1.0"
