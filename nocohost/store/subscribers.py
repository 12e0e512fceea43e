"""Both ends of a hint inside a node: who wants to hear of what, and what waits to be sent."""

import asyncio
import json
import secrets
from collections.abc import Callable, Sequence

WINDOW_SECONDS = 0.002
LONGEST_MESSAGE = 7900
"""In bytes; PostgreSQL takes fewer than 8000."""
MOST_WAITING = 1000

Heard = Callable[[str | None], None]


class Subscribers:
    """Who on this node wants to hear of which topic; in the event loop's thread only."""

    def __init__(self) -> None:
        self.origin = secrets.token_hex(6)
        self._heard: dict[str, list[Heard]] = {}

    def __bool__(self) -> bool:
        """Tell whether anybody listens."""
        return bool(self._heard)

    def add(self, topic: str, heard: Heard) -> Callable[[], None]:
        """Call ``heard`` for each hint of ``topic`` until the function that is returned is called."""
        self._heard.setdefault(topic, []).append(heard)

        def remove() -> None:
            listeners = self._heard.get(topic, [])
            if heard in listeners:
                listeners.remove(heard)
            if not listeners:
                self._heard.pop(topic, None)

        return remove

    def catch_up(self) -> None:
        """Tell everybody that hints may have been missed."""
        for listeners in list(self._heard.values()):
            for heard in tuple(listeners):
                heard(None)

    def encode(self, topic: str, text: str) -> str:
        """Return the hint as one line of ASCII; a text that is too long is left out: its readers look at all."""
        line = f"{self.origin} {topic} {json.dumps(text)}"
        return line if len(line) <= LONGEST_MESSAGE else f"{self.origin} {topic} null"

    def deliver(self, line: str) -> None:
        """Tell those who listen; a line of our own is left out, and so is one that makes no sense."""
        origin, _, rest = line.partition(" ")
        topic, _, encoded = rest.partition(" ")
        listeners = self._heard.get(topic)
        if not listeners or origin == self.origin:
            return
        try:
            text = json.loads(encoded)
        except ValueError:
            return
        if text is None or isinstance(text, str):
            for heard in tuple(listeners):
                heard(text)


class Outbox:
    """Sends the first of equal hints at once, and those that follow within the window together at its end."""

    def __init__(self, write: Callable[[Sequence[tuple[str, str]]], None]) -> None:
        self._write = write
        self._waiting: dict[tuple[str, str], None] = {}
        self._quiet_until: dict[tuple[str, str], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def put(self, topic: str, text: str) -> None:
        """Send the hint now or at the end of its window."""
        hint = (topic, text)
        if hint in self._waiting:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._quiet_until.get(hint, 0.0) <= now:
            self._quiet_until[hint] = now + WINDOW_SECONDS
            self._write((hint,))
        elif len(self._waiting) < MOST_WAITING:
            self._waiting[hint] = None
        if self._timer is None:
            self._timer = loop.call_later(WINDOW_SECONDS, self._flush, loop)

    def close(self) -> None:
        """Send what still waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = tuple(self._waiting), {}
        if waiting:
            self._write(waiting)

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._quiet_until = {hint: until for hint, until in self._quiet_until.items() if until > now}
        self._timer = None
        waiting = tuple(self._waiting)
        if waiting:
            self._waiting = {}
            self._quiet_until |= dict.fromkeys(waiting, now + WINDOW_SECONDS)
            self._write(waiting)
        if self._quiet_until:
            self._timer = loop.call_later(WINDOW_SECONDS, self._flush, loop)
