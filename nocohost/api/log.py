"""The log as plugins see it: an event named ``noun.verb`` and fields."""

from typing import Any, Protocol


class Log(Protocol):
    """Writes one line per event; fields become ``key=value`` or JSON members."""

    def bind(self, **fields: Any) -> "Log":
        """Return a log that adds ``fields`` to every line."""

    def debug(self, event: str, **fields: Any) -> Any:
        """Log what only a developer wants to know."""

    def info(self, event: str, **fields: Any) -> Any:
        """Log what happened."""

    def warning(self, event: str, **fields: Any) -> Any:
        """Log what somebody should look at."""

    def error(self, event: str, **fields: Any) -> Any:
        """Log what failed."""

    def exception(self, event: str, **fields: Any) -> Any:
        """Log what failed, with the traceback of the exception being handled."""
