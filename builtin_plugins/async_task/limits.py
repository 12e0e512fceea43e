"""The limits of one attempt, kept by its own process: memory below that of all tasks, and time."""

import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from builtin_plugins.async_task.errors import TaskError

MIB = 1024 * 1024
GRACE_SECONDS = 10.0
"""How long past its time a process lives that does not notice: code that is not Python's hears no signal."""
STATUS = Path("/proc/self/status")
LEAST_MIB = 16
"""What a kind gets at least, beyond what its process has before."""


class TaskTimeoutError(TaskError):
    """The attempt took longer than its kind allows."""

    code = "task.timeout"


def lower_memory(mib: int) -> None:
    """Refuse this process more than ``mib`` MiB of data, but leave it ``LEAST_MIB`` more than it has already."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = max(mib * MIB, _data_bytes() + LEAST_MIB * MIB)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise ``TaskTimeoutError`` in the block, in the main thread, once it takes longer; end the process if in vain."""
    if seconds is None:
        yield
        return
    text = f"the attempt took longer than {seconds:g} s"

    def expire(number: int, frame: FrameType | None) -> None:
        raise TaskTimeoutError(text)

    last = threading.Timer(seconds + GRACE_SECONDS, _end, [f"{text}, and does not end"])
    last.daemon = True
    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    last.start()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        last.cancel()


def free_frames(error: BaseException) -> None:
    """Let go of what the frames of an exception hold: for ``MemoryError`` that is what has filled the memory."""
    traceback.clear_frames(error.__traceback__)


def _end(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
    os._exit(1)


def _data_bytes() -> int:
    if not STATUS.exists():
        return 0
    for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
