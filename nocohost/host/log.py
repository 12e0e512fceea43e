"""How a node writes its log: one line per event, for people on a terminal and as JSON elsewhere."""

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

from nocohost.api.log import Log
from nocohost.host.plain_structlog import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor


class Sink:
    """Writes to a stream as long as it takes lines; a reader that is gone or a full disk must not stop the node."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or lose the line."""
        with suppress(OSError, ValueError):  # ValueError: the stream has been closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or lose what was buffered."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def make_log(stream: TextIO, *, level: str = "info", form: str = "auto") -> Log:
    """Return a log that writes to ``stream``; ``form`` is ``json``, ``console`` or ``auto`` (console on a terminal)."""
    logger = structlog.wrap_logger(
        structlog.WriteLogger(cast("TextIO", Sink(stream))),
        processors=[structlog.contextvars.merge_contextvars, *_stamps(), *_rendering(stream, form)],
        wrapper_class=structlog.make_filtering_bound_logger(level.upper()),
        cache_logger_on_first_use=True,
    )
    return cast("Log", logger.bind())


def route_standard_logging(stream: TextIO, *, level: str = "info", form: str = "auto") -> None:
    """Send what libraries and plugins write with ``logging`` to ``stream``, in the same form. Once per process."""
    handler = logging.StreamHandler(Sink(stream))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_stamps(), _name_of_record],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(stream, form)],
        )
    )
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())


def _stamps() -> "list[Processor]":
    return [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]


def _rendering(stream: TextIO, form: str) -> "list[Processor]":
    terminal = stream.isatty()
    if form == "json" or (form == "auto" and not terminal):
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    plain = structlog.dev.plain_traceback  # never the values of variables, as other formatters print them
    return [structlog.dev.ConsoleRenderer(colors=terminal, pad_event_to=28, exception_formatter=plain)]


def _name_of_record(logger: Any, method: str, event: Any) -> Any:
    record = event.get("_record")
    if record is not None:
        event["logger"] = record.name
    return event
