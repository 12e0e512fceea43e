"""Where a task really stands: what its row says, and what has become of its job meanwhile.

A kind can write that its task has succeeded, in the transaction of its last rows. Everything else may happen when
nobody is there to write: a job is cancelled, dropped, out of attempts, its node gone. So whoever looks at a task looks
at its job too, and writes down an end that has come; the first who does is enough.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import update

from builtin_plugins.async_task.records import OPEN, TaskRow, find_tasks
from builtin_plugins.async_task.tables import tasks
from nocohost import App, JobReport, JobState

ORPHAN = "the node that ran it is gone; it goes on where it was as soon as another node takes it"


class End(NamedTuple):
    """How a task has ended, of whose end its job alone knows."""

    state: str
    error: str | None
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """A task and its job; without a report the task is over, and needs none."""

    row: TaskRow
    report: JobReport | None = None

    @property
    def state(self) -> str:
        """Return the state of the task; pending where an attempt was lost, is to be repeated or cannot begin."""
        if not self.row.is_open or self.report is None:
            return self.row.state
        runs = self.report.state is JobState.RUNNING and not self.report.orphan and self.row.error is None
        return "running" if runs else "pending"

    @property
    def cancel_requested(self) -> bool:
        """Tell whether somebody asked to cancel it, and it has not ended yet."""
        return self.row.is_open and self.report is not None and self.report.cancel_requested

    @property
    def warnings(self) -> Sequence[Mapping[str, str]]:
        """Return what keeps it waiting."""
        if not self.row.is_open or self.report is None:
            return ()
        orphan = [{"code": "task.orphan", "message": ORPHAN}] if self.report.orphan else []
        missing = [{"code": "task.unknown_kind", "message": self.row.error}] if self.row.error else []
        return (*orphan, *missing, *self.report.warnings)


async def stand(app: App, rows: Sequence[TaskRow]) -> Sequence[Standing]:
    """Return where these tasks stand now, in their order; those that are gone meanwhile are left out.

    What has ended by its job is written down.
    """
    reports = await app.queue.find([row.job_id for row in rows if row.is_open])
    ends = {row.id: end for row in rows if row.is_open and (end := _end(row, reports.get(row.job_id), app))}
    if not ends:
        return [Standing(row, reports.get(row.job_id) if row.is_open else None) for row in rows]
    async with app.database.begin() as connection:
        for row in rows:
            if end := ends.get(row.id):
                await connection.execute(
                    update(tasks)
                    .where(tasks.c.id == row.id, tasks.c.job_id == row.job_id)
                    .where(tasks.c.fence == row.fence, tasks.c.state.in_(OPEN))  # not if it has gone on since
                    .values(state=end.state, error=end.error, finished_at=end.finished_at)
                )
        found = await find_tasks(connection, list(ends))
    return [
        Standing(row, reports.get(row.job_id) if row.is_open else None)
        for row in (found.get(old.id) if old.id in ends else old for old in rows)
        if row is not None
    ]


def _end(row: TaskRow, report: JobReport | None, app: App) -> End | None:
    """Return how the task has ended by what its job says, None if it has not."""
    if report is None:
        return End("failed", "its job was dropped, or is over and past its retention", app.clock.now())
    finished_at = report.finished_at or app.clock.now()
    if report.state is JobState.CANCELLED:
        return End("cancelled", None, finished_at)
    if report.state is JobState.DEAD:
        return End("failed", report.last_error or "its job became a dead letter", finished_at)
    if report.state is JobState.SUCCEEDED:  # of a task whose row was read before its last transaction, or of none
        return End("failed", "its job ended without a result", finished_at)
    return None
