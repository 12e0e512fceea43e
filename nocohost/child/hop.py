"""The way from the thread of a plain handler to the event loop."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from nocohost.api.errors import AttemptCancelledError

T = TypeVar("T")


class Hop:
    """Carries coroutines from the thread of one attempt to the event loop, until the attempt is cancelled."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._pending: set[concurrent.futures.Future[Any]] = set()
        self.is_cancelled = False

    @property
    def call_soon(self) -> Any:
        """Return how the event loop is told something without waiting for it."""
        return self._loop.call_soon_threadsafe

    def cancel(self) -> None:
        """Break off what is waited for, and refuse what comes; any thread may call this."""
        with self._lock:
            self.is_cancelled = True
            pending = list(self._pending)
        for future in pending:
            future.cancel()

    def refuse(self) -> None:
        """Raise ``AttemptCancelledError`` once the attempt is cancelled."""
        if self.is_cancelled:
            raise AttemptCancelledError(hint="end the handler; whatever it returns or raises now is of no account")

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` on the event loop and return what it returns; raises ``AttemptCancelledError``."""
        if asyncio._get_running_loop() is self._loop:
            coroutine.close()
            raise RuntimeError("a blocking twin was called on the event loop, which it would block for ever")
        with self._lock:
            if self.is_cancelled:
                coroutine.close()
                self.refuse()
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            self._pending.add(future)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            self.refuse()
            raise
        finally:
            with self._lock:
                self._pending.discard(future)

    def finish(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Like ``wait``, but a cancelled attempt waits too: for what must not be left half done."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
