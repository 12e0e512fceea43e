"""Tells the event loop that a file has changed, whichever process changed it."""

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable

LOOK_SECONDS = 0.01
"""How often the file is looked at where the system does not tell."""
EVENTS = 0x2 | 0x4 | 0x800
"""inotify: modified, attributes changed (the number of its names among them), moved."""
READ_BYTES = 4096


class FileWatch:
    """Calls ``changed`` soon after each change of a file, and now and then without one; until it is closed.

    On Linux the kernel tells of a change, and a file at rest costs nothing. Elsewhere a timer looks.
    """

    def __init__(self, path: str, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._inotify = _inotify(path)
        if self._inotify is not None:
            self._loop.add_reader(self._inotify, self._told)
        else:
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def close(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
        inotify, self._inotify = self._inotify, None
        if inotify is not None:
            self._loop.remove_reader(inotify)
            os.close(inotify)

    def _told(self) -> None:
        if self._inotify is not None:
            os.read(self._inotify, READ_BYTES)  # what has happened does not matter, nor how often
            self._changed()

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
        self._changed()


def _inotify(path: str) -> int | None:
    """Return the descriptor of an inotify instance on ``path``; None where there is no such thing, or none left."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    if not hasattr(library, "inotify_init1"):
        return None
    descriptor: int = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        return None
    if library.inotify_add_watch(descriptor, os.fsencode(path), EVENTS) < 0:
        os.close(descriptor)
        return None
    return descriptor
