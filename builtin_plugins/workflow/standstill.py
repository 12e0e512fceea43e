"""Executions whose definition cannot be read on this node: a plugin may be gone for a while, or the node be too old.

They wait without a job and are looked at now and then. They are cancelled and timed out like any other.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from builtin_plugins.workflow.errors import DefinitionError
from builtin_plugins.workflow.outcomes import is_held
from builtin_plugins.workflow.progress import Progress
from builtin_plugins.workflow.records import ExecutionRow, write_steps
from builtin_plugins.workflow.settings import WorkflowSettings
from builtin_plugins.workflow.starting import (
    deadline,
    end_execution,
    open_children,
    overdue,
    request_cancel,
    set_timer,
)
from builtin_plugins.workflow.step_runs import StepRuns
from builtin_plugins.workflow.tables import executions, versions
from nocohost import App, Job

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

LOOK_SECONDS = 30.0
"""Between attempts to read the definition."""
REASON_LETTERS = 2000


class Standstill:
    """What becomes of an execution that cannot go on here."""

    def __init__(self, app: App, runs: StepRuns) -> None:
        self._app = app
        self._runs = runs

    async def keep(self, job: Job, row: ExecutionRow, progress: Progress, error: DefinitionError) -> bool:
        """Give the execution up until later, or end it; return False if something has happened meanwhile."""
        async with job.transaction() as connection:
            row = await self._begun(connection, row, progress.now)
            if row.cancel_requested:
                await self._end(connection, row, progress, "cancelled", row.reason or "cancelled on request")
                return True
            reason = overdue(row, progress.now)
            if reason is not None:
                await self._end(connection, row, progress, "timed_out", reason)
                return True
            reason = f"waiting: {'; '.join(error.faults[:3]) or error.message}"[:REASON_LETTERS]
            return await self._release(connection, job, row, progress.now, reason)

    async def _begun(self, connection: "AsyncConnection", row: ExecutionRow, now: datetime) -> ExecutionRow:
        """Return the execution with its deadline: its time runs though nothing of it may ever have."""
        if row.started_at is not None:
            return row
        query = select(versions.c.definition).where(versions.c.name == row.workflow, versions.c.number == row.version)
        stored = await connection.scalar(query)
        given = stored.get("timeout_seconds") if isinstance(stored, dict) else None
        is_number = isinstance(given, int | float) and not isinstance(given, bool) and given > 0
        seconds = given if is_number else self._app.settings(WorkflowSettings).timeout_seconds
        return replace(row, started_at=now, deadline_at=deadline(now, seconds))

    async def _release(
        self, connection: "AsyncConnection", job: Job, row: ExecutionRow, now: datetime, reason: str
    ) -> bool:
        at = now + timedelta(seconds=LOOK_SECONDS)
        at = at if row.deadline_at is None else min(at, row.deadline_at)
        change = update(executions).where(executions.c.id == row.id)
        released = await connection.execute(
            change.where(executions.c.driver == job.id, executions.c.pokes == row.pokes).values(
                state="waiting",
                reason=reason,
                driver=None,
                started_at=row.started_at,
                deadline_at=row.deadline_at,
            )
        )
        if not released.rowcount:
            return False
        timer = await set_timer(self._app, connection, row, at)
        await connection.execute(change.values(timer=timer, timer_at=at))
        return True

    async def _end(
        self, connection: "AsyncConnection", row: ExecutionRow, progress: Progress, state: str, reason: str
    ) -> None:
        for step in progress.cancel_below("", ""):
            if step.state == "waiting" and step.type in self._runs.waiting and not is_held(step):
                await self._runs.waiting[step.type].stop(self._app, connection, step)
        await write_steps(connection, [(row.id, *progress.take_changes())])
        for child in await open_children(connection, row.id):
            await request_cancel(self._app, connection, child, f"its parent {state}")
        await end_execution(self._app, connection, row, state, reason, now=progress.now)
