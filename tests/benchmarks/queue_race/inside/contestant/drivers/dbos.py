"""DBOS: a workflow without steps behind a queue; ``python -m contestant.drivers.dbos EXECUTOR LIMIT`` serves.

Its queue looks for work every second unless told otherwise; here it is told every 10 ms. One process takes all there
is; of two, each is limited to a hundred at a time, since the first would take everything.
"""

import os
import sys
import threading
from collections.abc import Sequence
from typing import Any

import sqlalchemy
from dbos import DBOS, DBOSClient, DBOSConfig

from contestant import records
from contestant.driver import AbsentError

QUEUE = "race"
POLL_SECONDS = 0.01
TWO_PROCESSES_LIMIT = 100
UNFINISHED = "SELECT EXISTS (SELECT 1 FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING'))"


class Driver:
    """See ``contestant.driver``."""

    concurrent = True
    bulk = 1

    def __init__(self) -> None:
        self.settings = {
            "polling_interval_sec": POLL_SECONDS,
            "worker_concurrency": f"unlimited for one process, {TWO_PROCESSES_LIMIT} for each of two",
            "client": "DBOSClient, whose asynchronous calls use threads",
        }

    async def prepare(self) -> None:
        """Launch once, which makes the tables."""
        _launch("setup")
        DBOS.destroy()

    async def open(self) -> None:
        """Connect a client, and beside it what looks at the tables."""
        self._client = DBOSClient(system_database_url=os.environ["RACE_URL"])
        url = os.environ["RACE_URL"].replace("postgresql://", "postgresql+psycopg://")
        self._engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")

    async def close(self) -> None:
        """Disconnect."""
        self._client.destroy()
        self._engine.dispose()

    async def enqueue(self, job: dict[str, Any]) -> None:
        """Enqueue one."""
        await self._client.enqueue_async({"queue_name": QUEUE, "workflow_name": "race"}, job)

    async def enqueue_many(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Say that there is no call for many."""
        raise AbsentError("no call for many jobs")

    async def unfinished(self) -> int:
        """Tell whether any workflow waits or runs."""
        with self._engine.connect() as connection:
            return int(connection.execute(sqlalchemy.text(UNFINISHED)).scalar_one())

    def commands(self, processes: int) -> list[list[str]]:
        """Return one executor for each process; an executor that starts again has the name it had."""
        limit = 0 if processes == 1 else TWO_PROCESSES_LIMIT
        command = [sys.executable, "-m", "contestant.drivers.dbos"]
        return [[*command, f"executor-{number}", str(limit)] for number in range(processes)]


def _launch(executor: str) -> None:
    config: DBOSConfig = {
        "name": "race",
        "system_database_url": os.environ["RACE_URL"],
        "log_level": "WARNING",
        "application_version": "1",
        "executor_id": executor,
    }
    DBOS(config=config)

    @DBOS.workflow(name="race")
    async def race(job: dict[str, Any]) -> None:
        await records.run(job)

    DBOS.launch()


if __name__ == "__main__":
    _launch(sys.argv[1])
    DBOS.register_queue(QUEUE, polling_interval_sec=POLL_SECONDS, worker_concurrency=int(sys.argv[2]) or None)
    threading.Event().wait()
