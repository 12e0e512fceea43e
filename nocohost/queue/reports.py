"""Where jobs stand, for plugin code; and a person's word about one of them, given through it."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from nocohost.api.job import JobReport, JobState
from nocohost.queue.lookout import Lookout
from nocohost.store.brief import write_briefly
from nocohost.store.commits import on_commit
from nocohost.store.database import SqlDatabase
from nocohost.store.jobs import JobRow, cancel_job, find_jobs, retry_job

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from sqlalchemy.ext.asyncio import AsyncConnection

    Operate = Callable[[AsyncConnection, str], Awaitable[JobRow]]


class JobReports:
    """``find``, ``cancel`` and ``retry`` of ``nocohost.api.app.Queue``.

    ``on_changed(key)`` is called after the commit of each change; it is a hint.
    """

    def __init__(self, database: SqlDatabase, lookout: Lookout | None) -> None:
        self._database = database
        self._lookout = lookout
        self.on_changed: Callable[[str], None] = _nobody

    async def find(self, ids: Iterable[str], *, connection: "AsyncConnection | None" = None) -> Mapping[str, JobReport]:
        """Return where these jobs stand; see ``nocohost.api.app.Queue.find``."""
        wanted = [*ids]
        if not wanted:
            return {}
        if connection is not None:
            rows = await find_jobs(connection, wanted)
        else:
            async with self._database.connect() as own:
                rows = await find_jobs(own, wanted)
        reports = {row.id: _report(row) for row in rows}
        if self._lookout is None or connection is not None:
            return reports  # another connection could not be had where all wait with one of their own
        return {row.id: await self._warned(row, reports[row.id], self._lookout) for row in rows}

    async def cancel(self, job_id: str, *, connection: "AsyncConnection | None" = None) -> JobReport:
        """Cancel one job; see ``nocohost.api.app.Queue.cancel``."""
        return await self._operate(cancel_job, job_id, connection)

    async def retry(self, job_id: str, *, connection: "AsyncConnection | None" = None) -> JobReport:
        """Put a dead or cancelled job back to pending; see ``nocohost.api.app.Queue.retry``."""
        return await self._operate(retry_job, job_id, connection)

    async def _operate(self, operate: "Operate", job_id: str, connection: "AsyncConnection | None") -> JobReport:
        if connection is not None:
            row = await operate(connection, job_id)
            on_commit(connection, lambda: self.on_changed(row.key))
            return _report(row)
        row = await write_briefly(self._database, lambda own: operate(own, job_id))
        self.on_changed(row.key)
        return _report(row)

    async def _warned(self, row: JobRow, report: JobReport, lookout: Lookout) -> JobReport:
        waits = row.state is JobState.PENDING or row.orphan
        return _report(row, await lookout.told(row.key)) if waits else report


def _nobody(key: str) -> None:
    """Wake nobody."""


def _report(row: JobRow, warnings: Iterable[Mapping[str, str]] = ()) -> JobReport:
    return JobReport(
        id=row.id,
        key=row.key,
        state=row.state,
        attempts=row.attempts,
        node=row.node_id,
        orphan=row.orphan,
        cancel_requested=row.cancel_requested,
        last_error=row.last_error,
        value=row.value,
        started_at=row.started_at,
        finished_at=row.finished_at,
        warnings=tuple(warnings),
    )
