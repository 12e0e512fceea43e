"""procrastinate on psycopg, served by its own command line."""

import os
import sys
from collections.abc import Sequence
from typing import Any

from procrastinate import App, PsycopgConnector

from contestant import records

CONCURRENCY = 20
app = App(connector=PsycopgConnector(conninfo=os.environ["RACE_URL"], min_size=4, max_size=CONCURRENCY + 4))


@app.task(name="race", queue="race")
async def race(job: dict[str, Any]) -> None:
    """Run one job."""
    await records.run(job)


class Driver:
    """See ``contestant.driver``."""

    concurrent = True
    bulk = 1000

    def __init__(self) -> None:
        self.settings = {
            "concurrency": CONCURRENCY,
            "pool": f"psycopg, up to {CONCURRENCY + 4}",
            "delete_jobs": "never",
        }

    async def prepare(self) -> None:
        """Make the tables."""
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

    async def open(self) -> None:
        """Open the app."""
        await app.open_async()

    async def close(self) -> None:
        """Close it."""
        await app.close_async()

    async def enqueue(self, job: dict[str, Any]) -> None:
        """Defer one."""
        await race.defer_async(job=job)

    async def enqueue_many(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Defer many."""
        await race.batch_defer_async(*({"job": job} for job in jobs))

    async def unfinished(self) -> int:
        """Tell whether any job waits or runs."""
        query = "SELECT EXISTS (SELECT 1 FROM procrastinate_jobs WHERE status IN ('todo', 'doing')) AS found"
        return int((await app.connector.execute_query_one_async(query))["found"])

    def commands(self, processes: int) -> list[list[str]]:
        """Return one process of the command line for each."""
        command = [sys.executable, "-m", "procrastinate", "--app", "contestant.drivers.procrastinate.app"]
        command += ["--log-level", "warning", "worker", "--queues", "race", "--concurrency", str(CONCURRENCY)]
        return [command for _ in range(processes)]
