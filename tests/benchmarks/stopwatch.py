"""How long a process takes to end or to be ready, in alternating runs, so that a busy minute hits every side alike."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

POLL_SECONDS = 0.002
READY_SECONDS = 60.0


@dataclass(frozen=True)
class Comparison:
    """Median seconds of one thing and of what it is measured against; ``limit`` is the greatest ratio that will do."""

    name: str
    seconds: float
    against: str
    against_seconds: float
    limit: float
    runs: int

    @property
    def ratio(self) -> float:
        """Return how many times as long it takes."""
        return self.seconds / self.against_seconds

    @property
    def holds(self) -> bool:
        """Tell whether the ratio is within its limit."""
        return self.ratio <= self.limit


def compare(limit: float, sides: Mapping[str, Callable[[], float]], runs: int) -> Comparison:
    """Time two sides in turn: what is measured, then what it is measured against. One run of each is warm-up."""
    (one, time_one), (other, time_other) = sides.items()
    times = [(time_one(), time_other()) for _ in range(runs + 1)][1:]
    return Comparison(one, median(t[0] for t in times), other, median(t[1] for t in times), limit, runs)


def seconds_to_end(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Run a command and return the seconds from its start to its end."""
    start = time.perf_counter()
    subprocess.run(command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def seconds_to_ready(command: Sequence[str], environment: Mapping[str, str], port: int) -> float:
    """Start a server and return the seconds until ``/readyz`` on ``port`` answers 200; then stop it."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            while not answers(port):
                if process.poll() is not None or time.perf_counter() - start > READY_SECONDS:
                    process.kill()
                    said = process.communicate()[0].decode(errors="replace")
                    sys.exit(f"not ready: {' '.join(command)}\n{said}")
                time.sleep(POLL_SECONDS)
            return time.perf_counter() - start
        finally:
            process.kill()


def answers(port: int) -> bool:
    """Tell whether ``GET /readyz`` answers 200 on ``port`` of this machine."""
    request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request)
        return b" 200 " in connection.makefile("rb").readline()
    return False


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def plain_environment(**more: str) -> dict[str, str]:
    """Return an environment without a setting of nocohost's, with byte code written as an installation would."""
    dropped = ("NOCOHOST_", "WORKER_MODE", "DATABASE_URL", "PORT", "PYTHON")
    return {name: text for name, text in os.environ.items() if not name.startswith(dropped)} | more


def show(comparisons: Sequence[Comparison], file: Path | None) -> None:
    """Print a table, and write the same as JSON."""
    print(f"{'':42} {'median':>9} {'against':>9}  {'':32} {'ratio':>6} {'limit':>6}")
    for item in comparisons:
        print(
            f"{item.name:42} {item.seconds * 1000:6.0f} ms {item.against_seconds * 1000:6.0f} ms  {item.against:32} "
            f"{item.ratio:6.2f} {item.limit:6.2f} {'' if item.holds else ' MISSED'}"
        )
    if file is not None:
        rows = [asdict(item) | {"ratio": round(item.ratio, 3), "holds": item.holds} for item in comparisons]
        file.write_text(json.dumps(rows, indent=2) + "\n")
