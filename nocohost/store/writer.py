"""SQLite has one writer: the turn that a process's write transactions take, and their time limit."""

import asyncio
import sys
from types import FrameType
from typing import Any

TURN_SECONDS = 5.0
PASSED_OVER = ("nocohost.store", "nocohost.queue.claim", "nocohost.child", "contextlib", "asyncio")
"""Modules that only pass a transaction on: whoever keeps one open is named by the first frame outside of them."""


class WriterTurn:
    """Hands the turn to write to one task after another, in the order in which they asked."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._owner: asyncio.Task[Any] | None = None

    @property
    def is_mine(self) -> bool:
        """Tell whether the running task has the turn."""
        return self._owner is not None and self._owner is asyncio.current_task()

    async def take(self) -> None:
        """Wait for the turn."""
        await self._lock.acquire()
        self._owner = asyncio.current_task()

    def give_back(self) -> None:
        """Let the next task write."""
        self._owner = None
        self._lock.release()


def place_of_caller() -> str:
    """Return ``file:line`` of whoever asked for a transaction."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(PASSED_OVER):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return "unknown place"
