"""The threads of one service: as many as its jobs may run at a time, and others for those that never come back."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, NamedTuple


class _Call(NamedTuple):
    call: Callable[[], Any]
    context: Context
    loop: asyncio.AbstractEventLoop
    outcome: "asyncio.Future[Any]"


class Crew:
    """Runs calls in at most ``size`` daemon threads, which do not keep the process; started as they are needed.

    A thread whose call was given up is replaced, once for each place: a crew that has lost twice its size waits.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._waiting = 0
        """Calls made and not ended."""
        self._lost: set[asyncio.Future[Any]] = set()

    @property
    def is_lost(self) -> bool:
        """Tell whether no thread is left that could take a call."""
        with self._lock:
            return len(self._lost) >= self._size * 2

    def start(self, call: Callable[[], Any]) -> "asyncio.Future[Any]":
        """Make the call in a thread, with the context of the running task; ``call`` must not raise."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Any] = loop.create_future()
        self._calls.put(_Call(call, copy_context(), loop, outcome))
        with self._lock:
            self._waiting += 1
            self._grow()
        return outcome

    def give_up(self, outcome: "asyncio.Future[Any]") -> None:
        """Wait no longer for a call, and put another thread in the place of the one that is at it."""
        with self._lock:
            self._lost.add(outcome)
            self._grow()

    def close(self) -> None:
        """Let every thread end after what it is doing."""
        with self._lock:
            for _ in range(self._threads):
                self._calls.put(None)

    def _grow(self) -> None:
        if self._threads < min(self._waiting, self._size + min(len(self._lost), self._size)):
            self._threads += 1
            threading.Thread(target=self._run, name=f"{self._name} {self._threads}", daemon=True).start()

    def _run(self) -> None:
        ended = False
        while not ended and (one := self._calls.get()) is not None:
            result = one.context.run(one.call)
            with self._lock:
                self._waiting -= 1
                ended = one.outcome in self._lost
                self._lost.discard(one.outcome)
                self._threads -= ended
            with suppress(RuntimeError):  # the event loop is closed, and nobody waits any more
                one.loop.call_soon_threadsafe(_deliver, one.outcome, result)


def _deliver(outcome: "asyncio.Future[Any]", result: Any) -> None:
    if not outcome.done():
        outcome.set_result(result)
