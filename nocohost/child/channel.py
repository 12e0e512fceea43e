"""The child's end of the channel: says messages from any thread, and hears its node in a thread of its own."""

import os
import queue
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from traceback import format_exc
from typing import Any

from nocohost.child.messages import Message, decode, encode

STACK_BYTES = 512 * 1024
"""Of the listening thread: the usual 8 MiB would count as memory of the handler."""
LEVELS = ("debug", "info", "warning", "error")


class Channel:
    """Speaks with the node over a socket. When that ends the node is gone, and so is this process, with its group."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._heard: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._cancelling = threading.Lock()
        self._on_cancel: Callable[[bool], None] | None = None
        self._is_requested = False
        self.is_cancelled = False
        """Whether the node has asked to end the handler."""
        connection.set_inheritable(False)
        before = threading.stack_size(STACK_BYTES)
        threading.Thread(target=self._listen, name="channel", daemon=True).start()
        threading.stack_size(before)

    def send(self, kind: str, **fields: Any) -> None:
        """Say something; waits while the node does not listen."""
        self.send_line(encode(kind, **fields))

    def send_line(self, line: bytes) -> None:
        """Say what is encoded already."""
        with suppress(OSError), self._sending:  # the node is gone, and the listening thread knows
            self._connection.sendall(line)

    def receive(self) -> Message:
        """Wait for the next message of the node, ``cancel`` excepted."""
        return self._heard.get()

    def on_cancel(self, call: Callable[[bool], None]) -> None:
        """Have ``call(requested)`` called, in any thread, when the node asks to end the handler; at once if it has.

        ``requested`` says whether a person has asked to cancel the job.
        """
        with self._cancelling:
            self._on_cancel = call
            if not self.is_cancelled:
                return
        call(self._is_requested)

    def _listen(self) -> None:
        with suppress(OSError), self._connection.makefile("rb") as lines:
            for line in lines:
                said = decode(line)
                if said.kind == "cancel":
                    self._cancel(bool(said.fields.get("requested")))
                else:
                    self._heard.put(said)
        end_group()

    def _cancel(self, requested: bool) -> None:
        with self._cancelling:
            self.is_cancelled = True
            self._is_requested = requested
            call = self._on_cancel
        if call is not None:
            call(requested)


class ChannelLog:
    """Implements ``nocohost.api.log.Log``: the node writes the lines, with its own fields added."""

    def __init__(self, channel: Channel, level: str, fields: dict[str, Any] | None = None) -> None:
        self._channel = channel
        self._level = level
        self._fields = fields or {}

    def bind(self, **fields: Any) -> "ChannelLog":
        """Return a log that adds ``fields`` to every line."""
        return ChannelLog(self._channel, self._level, self._fields | fields)

    def debug(self, event: str, **fields: Any) -> None:
        """Log what only a developer wants to know."""
        self._write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Log what happened."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log what somebody should look at."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Log what failed."""
        self._write("error", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """Log what failed, with the traceback of the exception being handled."""
        self._write("error", event, {"exception": format_exc()} | fields)

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if LEVELS.index(level) >= LEVELS.index(self._level):
            self._channel.send("log", **(self._fields | fields | {"level": level, "event": event}))


def end_group() -> None:
    """Kill this process and what it has started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
