"""huey on SQLite, served by its own command line. A job leaves the table as it is taken, before it has run."""

import os
import sys
from collections.abc import Sequence
from typing import Any

from huey import SqliteHuey

from contestant import records
from contestant.driver import AbsentError

FILE = os.environ["RACE_URL"].removeprefix("sqlite:///")
app = SqliteHuey("race", filename=FILE, fsync=True, results=False, timeout=30)


@app.task(name="race")
def race(job: dict[str, Any]) -> None:
    """Run one job."""
    records.run_blocking(job)


class Driver:
    """See ``contestant.driver``."""

    concurrent = False
    bulk = 1

    def __init__(self) -> None:
        self.settings = {
            "storage": "SqliteHuey, WAL, fsync=True (synchronous=FULL), results=False",
            "consumer": "one thread, looks every 5 to 20 ms (-d 0.005 -m 0.02; by default 0.1 to 10 s)",
        }

    async def prepare(self) -> None:
        """Make the tables."""
        app.storage.close()

    async def open(self) -> None:
        """Connect at the first use."""

    async def close(self) -> None:
        """Disconnect."""
        app.storage.close()

    async def enqueue(self, job: dict[str, Any]) -> None:
        """Enqueue one."""
        race(job)

    async def enqueue_many(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Say that there is no call for many."""
        raise AbsentError("no call for many jobs")

    async def unfinished(self) -> int:
        """Return how many jobs nobody has taken; what has been taken is acknowledged already."""
        return int(app.pending_count())

    def commands(self, processes: int) -> list[list[str]]:
        """Return one consumer for each process."""
        command = [sys.executable, "-m", "huey.bin.huey_consumer", "contestant.drivers.huey.app"]
        command += ["-w", "1", "-k", "thread", "-n", "-d", "0.005", "-m", "0.02", "--quiet"]
        return [command for _ in range(processes)]
