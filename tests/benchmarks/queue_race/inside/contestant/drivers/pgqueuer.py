"""pgqueuer on asyncpg and uvloop; ``python -m contestant.drivers.pgqueuer`` serves.

Its documentation advises large batches for speed; its own command line has ten for the default.
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from contestant import records

ENTRYPOINT = "race"
BATCH = int(os.environ["RACE_BATCH"])


class Driver:
    """See ``contestant.driver``."""

    concurrent = True
    bulk = 1000

    def __init__(self) -> None:
        self.settings = {"batch_size": BATCH, "driver": "asyncpg pool", "uvloop": True, "durability": "durable"}

    async def prepare(self) -> None:
        """Make the tables."""
        await self.open()
        await self._queries.install()
        await self.close()

    async def open(self) -> None:
        """Open a pool as large as that of the serving side."""
        self._pool = await _pool(10)
        self._queries = Queries(AsyncpgPoolDriver(self._pool))

    async def close(self) -> None:
        """Close it."""
        await self._pool.close()

    async def enqueue(self, job: dict[str, Any]) -> None:
        """Enqueue one."""
        await self._queries.enqueue(ENTRYPOINT, json.dumps(job).encode())

    async def enqueue_many(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Enqueue many in one statement."""
        bodies: list[bytes | None] = [json.dumps(job).encode() for job in jobs]
        await self._queries.enqueue([ENTRYPOINT] * len(jobs), bodies, [0] * len(jobs))

    async def unfinished(self) -> int:
        """Tell whether any job has not moved to the log."""
        return int(await self._pool.fetchval("SELECT EXISTS (SELECT 1 FROM pgqueuer)"))

    def commands(self, processes: int) -> list[list[str]]:
        """Return one manager for each process."""
        return [[sys.executable, "-m", "contestant.drivers.pgqueuer"] for _ in range(processes)]


async def serve() -> None:
    """Run the manager until killed."""
    manager = PgQueuer.from_asyncpg_pool(await _pool(10))

    @manager.entrypoint(ENTRYPOINT)
    async def race(job: Job) -> None:
        await records.run(json.loads(job.payload or b"{}"))

    await manager.run(batch_size=BATCH)


async def _pool(size: int) -> asyncpg.Pool:
    return await asyncpg.create_pool(os.environ["RACE_URL"], min_size=2, max_size=size)


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(serve())
