"""What a process of the bench is before nocohost starts in it: mortal, pulsing, with a lying clock, perhaps broken."""

import ctypes
import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

PULSE_SECONDS = 0.25
PR_SET_PDEATHSIG = 1
STEP_SECONDS = 300.0


def prepare(environ: Mapping[str, str], *, is_node: bool, is_child: bool) -> None:
    """Make this process what the variables of the run say."""
    if is_node:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a frozen node, too, dies with the tests
    if is_node or is_child:
        names = {"pid": os.getppid(), "child": os.getpid()} if is_child else {"pid": os.getpid()}
        threading.Thread(target=pulse, args=(environ, names), name="pulse", daemon=True).start()
    if skew := environ.get("CHAOS_SKEW"):
        lie(skew)
    if name := environ.get("CHAOS_BUILD"):
        import broken_builds

        broken_builds.apply(name)


def pulse(environ: Mapping[str, str], numbers: Mapping[str, int]) -> None:
    """Write a line four times a second: a gap tells that this process was frozen or starved, not that it was wrong.

    The last line of a child tells until when it lived at least, for nobody else notes when it is killed.
    """
    name = environ.get("NOCOHOST_NODE_NAME", "unnamed")
    file_name = "-".join([name, *map(str, numbers.values())])
    with open(f"{environ['CHAOS_FOLDER']}/pulse/{file_name}.jsonl", "a", buffering=1) as file:
        while True:
            told = {"t": time.clock_gettime(time.CLOCK_MONOTONIC), "name": name, **numbers, "waited": waited()}
            file.write(json.dumps(told) + "\n")
            time.sleep(PULSE_SECONDS)


def waited() -> float:
    """Return for how many seconds the main thread could have run, and the machine did something else."""
    try:
        with open("/proc/self/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except OSError:  # not every system keeps count
        return 0.0


def lie(skew: str) -> None:
    """Let this node's wall clock be off by so many seconds, or with ``step`` jump five minutes back and forth."""
    true_time, true_ns = time.time, time.time_ns

    def error() -> float:
        if skew != "step":
            return float(skew)
        return STEP_SECONDS if int(time.monotonic() / 10) % 2 else -STEP_SECONDS

    import nocohost.node.clock

    time.time = lambda: true_time() + error()
    time.time_ns = lambda: true_ns() + int(error() * 1e9)
    nocohost.node.clock.SystemClock.now = lambda self: datetime.now(UTC) + timedelta(seconds=error())
