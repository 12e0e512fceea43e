"""nocohost: the app of a command enqueues, ``nocohost run`` serves with ``WORKER_MODE=*``."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import psycopg
from sqlalchemy import text

from contestant.driver import AbsentError
from nocohost import App
from nocohost.host.command import open_command_app

KEY = "race:run"
"""What ``contestant.declarations`` declares."""
BULK = 1000
TRANSACTION = 200
WITHOUT_UVLOOP = "import sys; sys.modules['uvloop'] = None; from nocohost.cli.main import main; main()"
"""A node that takes uvloop for not installed."""
PARKED = "parked:work"
"""What ``NOCOHOST_EXTERNAL_KEYS`` declares."""
COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""
ALTERED = {
    "id": "(lpad(to_hex(n), 12, '0') || substr(md5(n::text), 1, 20))::uuid",
    "finished_at": "one.finished_at - n * interval '10 ms'",
}
"""What the copies of a row do not share; their ids rise with time, as ours do."""
UNFINISHED = text(
    "SELECT EXISTS (SELECT 1 FROM nocohost_jobs WHERE key = :key AND state = 'pending')"
    " OR EXISTS (SELECT 1 FROM nocohost_jobs WHERE key = :key AND state = 'running')"
)
"""Two halves, each answered by an index; counting the rows of a table that shrinks would slow down what is measured."""


class Driver:
    """See ``contestant.driver``; what it shows of its settings is what the environment gives to every process."""

    concurrent = True
    bulk = BULK

    def __init__(self) -> None:
        self._uvloop = bool(os.environ.get("RACE_UVLOOP")) and importlib.util.find_spec("uvloop") is not None
        self._stack = AsyncExitStack()
        self._app: App | None = None
        self.settings = {
            "WORKER_MODE": "*",
            "concurrency of the service": int(os.environ["NOCOHOST_PLUGINS__RACE__CONCURRENCY"]),
            "queue profile": os.environ.get("NOCOHOST_QUEUE__PROFILE", "default"),
            "uvloop": self._uvloop,
        }

    @property
    def app(self) -> App:
        """Return the open app."""
        assert self._app is not None, "not open"
        return self._app

    async def prepare(self) -> None:
        """Upgrade the schema, as every command does first."""
        await self.open()
        await self.close()

    async def open(self) -> None:
        """Open the app of a command."""
        self._app = await self._stack.enter_async_context(open_command_app(os.environ, sys.stderr))

    async def close(self) -> None:
        """Close it."""
        await self._stack.aclose()

    async def enqueue(self, job: dict[str, Any]) -> None:
        """Enqueue one job in a transaction of its own."""
        await self.app.queue.enqueue(KEY, job)

    async def enqueue_many(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Enqueue many in one call."""
        many: Any = getattr(self.app.queue, "enqueue_many", None)
        if many is None:
            raise AbsentError("not yet")
        await many(KEY, jobs)

    async def preload(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Store jobs, many in one transaction."""
        if hasattr(self.app.queue, "enqueue_many"):
            for start in range(0, len(jobs), BULK):
                await self.enqueue_many(jobs[start : start + BULK])
            return
        for start in range(0, len(jobs), TRANSACTION):
            async with self.app.database.begin() as connection:
                for job in jobs[start : start + TRANSACTION]:
                    await self.app.queue.enqueue(KEY, job, connection=connection)

    async def unfinished(self) -> int:
        """Tell whether any job is still in the hot table."""
        async with self.app.database.connect() as connection:
            return int(await connection.scalar(UNFINISHED, {"key": KEY}))

    async def add_ballast(self, history: int, parked: int) -> None:
        """Multiply the one job that has run so far, and one that waits under a key that nobody serves."""
        await self.app.queue.enqueue(PARKED, {"number": 0, "at": 0, "seconds": 0})
        with psycopg.connect(os.environ["RACE_URL"], autocommit=True) as connection:
            for table, rows in (("nocohost_history", history), ("nocohost_jobs", parked)):
                names = [row[0] for row in connection.execute(COLUMNS, (table,))]
                columns = ", ".join(f'"{name}"' for name in names)
                values = ", ".join(ALTERED.get(name, f'one."{name}"') for name in names)
                one = f"(SELECT * FROM {table} LIMIT 1) AS one"
                connection.execute(
                    f"INSERT INTO {table} ({columns}) SELECT {values} FROM {one}, generate_series(1, {rows}) AS n"
                )
                connection.execute(f"VACUUM (ANALYZE) {table}")  # autovacuum would have, long ago
            connection.execute("CHECKPOINT")

    def commands(self, processes: int) -> list[list[str]]:
        """Return one node for each process."""
        start = ["-m", "nocohost"] if self._uvloop else ["-c", WITHOUT_UVLOOP]
        return [[sys.executable, "-P", *start, "run"] for _ in range(processes)]
