"""The service key under which tasks run."""

KEY = "async-task:process"
"""The service key under which tasks run."""
