"""Writing what steps have come to: one commit for all executions of a node that have something to write at the time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from builtin_plugins.workflow.records import ExecutionRow, end_plainly, write_steps
from builtin_plugins.workflow.step_row import StepRow
from nocohost import App, ConfigError, FenceLostError, Job, StoreError

BATCH = 64
CONNECTIONS = 8
"""Of the ten that a node keeps by default."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Some steps of one execution, and the job whose claim they are written by."""

    job: Job
    execution: str
    new: Sequence[StepRow]
    changed: Sequence[StepRow]
    written: asyncio.Future[None] = field(compare=False)
    ended: ExecutionRow | None = None
    """The execution as it has ended, if it has."""


class StepWriter:
    """Writes steps through the claims of their drivers. For the executions of one event loop.

    What is asked for while a commit is under way goes together in the next one. A driver that has lost its claim
    writes nothing and is told so; the others are not held up by it.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._waiting: list[Entry] = []
        self._flusher: asyncio.Task[None] | None = None
        self.room = asyncio.Semaphore(CONNECTIONS)
        """For transactions of drivers: more at a time would make the pool open connections for a moment."""

    async def write(
        self,
        job: Job,
        execution: str,
        rows: tuple[Sequence[StepRow], Sequence[StepRow]],
        ended: ExecutionRow | None = None,
    ) -> None:
        """Return once the steps, new ones and changed ones, are committed, and with them the end of the execution.

        Raises ``FenceLostError``, ``StoreError``, and ``ConfigError`` while the database refuses its user.
        """
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(Entry(job, execution, *rows, written, ended))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush_on(), name="write steps of workflows")
        await written

    async def _flush_on(self) -> None:
        while self._waiting:
            batch = self._waiting[:BATCH]
            del self._waiting[:BATCH]
            try:
                await self._write(batch)
            finally:
                _tell(batch, FenceLostError("the write was broken off; nothing is known of it"))

    async def _write(self, batch: Sequence[Entry]) -> None:
        """Write a batch; where the database refuses it for good, each entry apart, so that only the wrong one fails."""
        try:
            await self._flush(batch)
        except (StoreError, ConfigError) as error:
            if len(batch) == 1 or isinstance(error, ConfigError) or error.retryable:
                _tell(batch, error)
                return
            for entry in batch:
                if not entry.written.done():
                    await self._write([entry])

    async def _flush(self, batch: Sequence[Entry]) -> None:
        held = []
        async with self._app.database.begin() as connection:
            for entry in batch:
                try:
                    if entry.job.claim is not None:
                        await entry.job.claim.verify(connection)
                        held.append(entry)
                except FenceLostError as error:
                    _tell([entry], error)
            rows = [(entry.execution, entry.new, entry.changed) for entry in held]
            await write_steps(connection, rows)
            await end_plainly(connection, [entry.ended for entry in held if entry.ended is not None])
        for entry in held:
            if not entry.written.done():
                entry.written.set_result(None)


def _tell(batch: Sequence[Entry], error: FenceLostError | StoreError | ConfigError) -> None:
    for entry in batch:
        if not entry.written.done():
            entry.written.set_exception(error)
