"""What became of attempts, written many in one statement, until the database has answered."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nocohost.api.clock import Clock
from nocohost.api.errors import ConfigError, StoreError
from nocohost.api.log import Log
from nocohost.queue.outcome import FENCED, Rules, Verdict
from nocohost.queue.supervision import Supervision
from nocohost.store.claims import was_written
from nocohost.store.database import SqlDatabase
from nocohost.store.hot.values import ClaimedJob

LIMIT = 500


class Pending(NamedTuple):
    """A verdict that is still to be written; ``settled`` is told what was: FENCED for nothing."""

    job: ClaimedJob
    verdict: Verdict
    rules: Rules
    settled: Callable[[Verdict], None]


class Settler:
    """Writes verdicts in the order in which they come, however long the database is away.

    What comes while a write is under way goes out together with the next. A verdict that the database refuses for good
    counts as a failed attempt that says so.
    """

    def __init__(self, database: SqlDatabase, node_id: str, *, clock: Clock, log: Log) -> None:
        self._database = database
        self._node_id = node_id
        self._clock = clock
        self._log = log
        self._supervision = Supervision("settle", log)
        self._waiting: list[Pending] = []
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    def put(self, pending: Pending) -> None:
        """Have a verdict written; returns at once."""
        if self._is_closed:
            return
        self._waiting.append(pending)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="settle")

    def give_up(self) -> None:
        """Write nothing any more, neither what waits nor what comes; nobody is told."""
        self._is_closed = True
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:LIMIT], self._waiting[LIMIT:]
                await self._write(group)
        finally:
            self._task = None

    async def _write(self, group: Sequence[Pending]) -> None:
        settlements = [one.verdict.settle(one.job) for one in group]
        is_unsure = False
        while True:
            try:
                written = await self._database.hot.settle(settlements)
                if is_unsure:
                    written |= await self._read_back([one for one in group if one.job.id not in written])
                break
            except (StoreError, ConfigError) as error:
                if isinstance(error, StoreError) and not error.retryable:
                    await self._write_apart(group, error)
                    return
                # The answer may have been lost after the commit: the next refusal has to be looked into. A database
                # that refuses its user does so until somebody has mended that, and is waited for as well.
                is_unsure = True
                await self._clock.sleep(self._supervision.failed(error))
        self._supervision.succeeded()
        for one in group:
            one.settled(one.verdict if one.job.id in written else FENCED)

    async def _write_apart(self, group: Sequence[Pending], error: StoreError) -> None:
        """Find out whose verdict it is that the database refuses, and write that one as a failure."""
        if len(group) > 1:
            for one in group:
                await self._write([one])
            return
        (one,) = group
        name = one.verdict.name
        self._log.error("job.unwritable", key=one.job.key, job=one.job.id, verdict=name, reason=str(error))
        failed = one.rules.failed(f"the outcome {name} cannot be stored: {error.message}")
        if failed.error == one.verdict.error:
            one.settled(FENCED)  # not even that can be written; the lease frees it
            return
        await self._write([one._replace(verdict=failed, rules=one.rules)])

    async def _read_back(self, group: Sequence[Pending]) -> set[str]:
        async with self._database.connect() as connection:
            return {one.job.id for one in group if await was_written(connection, one.job, self._node_id)}
