"""The heap of a process that is a node and nothing else: what it returns to the machine, and what is searched again.

Decision 23 tells why. None of this is done where a node is only a guest, as in a test.
"""

import ctypes
import gc
import sys
from typing import Any

ARENAS = 1
"""glibc gives each thread that allocates an arena of its own; under one interpreter lock they only hold more memory."""
M_ARENA_MAX = -8
"""The number of that option in glibc's ``malloc.h``."""
YOUNG_OBJECTS = 10_000
"""A claim of 250 jobs makes some thousand objects that all go at once: searched at every 700, they are searched for
nothing, again and again."""


def open_heap() -> None:
    """Set up the heap; to be called before the first thread starts."""
    mallopt = getattr(_library(), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


def settle_heap() -> None:
    """Leave what a node has loaded out of every later search for garbage, and return what its start has freed."""
    gc.freeze()
    malloc_trim = getattr(_library(), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def _library() -> Any:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
