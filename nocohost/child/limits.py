"""What a child asks of the operating system: to die with its parent, and to be refused memory past a limit."""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

from nocohost.api.errors import PluginContractError

PR_SET_PDEATHSIG = 1
MIB = 1024 * 1024
LEAST_MIB = 16
"""What a handler gets at least, beyond what the child needs before it begins."""
STATUS = Path("/proc/self/status")


def die_with(parent: int) -> None:
    """Have this process killed when the process ``parent``, which started it, ends; Linux only.

    Elsewhere, and for what this cannot see, the end of the channel says the same.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it has ended before we could ask
        os._exit(1)


def limit_memory(mib: int) -> None:
    """Refuse this process more than ``mib`` MiB of data: heap and private mappings that it may write, RLIMIT_DATA.

    RLIMIT_AS would count what is only reserved and every mapped library, and stop harmless programs; RLIMIT_RSS is not
    enforced by any kernel of today. Raises ``PluginContractError`` when the child has nearly that much already.
    """
    used = data_bytes()
    if used + LEAST_MIB * MIB > mib * MIB:
        raise PluginContractError(
            f"memory_mib is {mib}, of which a child has {used // MIB} before its handler begins",
            hint=f"at least {used // MIB + LEAST_MIB + 1}",
        )
    resource.setrlimit(resource.RLIMIT_DATA, (mib * MIB, mib * MIB))


def data_bytes() -> int:
    """Return how much this process has of what ``limit_memory`` limits, 0 where that cannot be told."""
    return _status("VmData")


def peak_bytes() -> int:
    """Return the most memory that this process ever had resident, 0 where that cannot be told."""
    return _status("VmHWM")


def _status(name: str) -> int:
    if not STATUS.exists():
        return 0
    lines = (line.partition(":") for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines())
    return next((int(value.split()[0]) * 1024 for found, _, value in lines if found == name), 0)
