"""What becomes of executions whose driver is gone, and of those that are over."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update

from builtin_plugins.workflow import KEY
from builtin_plugins.workflow.records import OPEN, find_execution
from builtin_plugins.workflow.settings import WorkflowSettings
from builtin_plugins.workflow.starting import end_execution
from builtin_plugins.workflow.tables import executions, signals, steps
from nocohost import App, JobReport, JobState

BATCH = 200


async def tidy(app: App) -> Mapping[str, Any]:
    """Settle executions whose driver is over without an end of theirs, and remove those past their retention."""
    settings = app.settings(WorkflowSettings)
    settled = await settle(app)
    removed = await _remove(app, ("succeeded",), settings.retention_seconds)
    removed += await _remove(app, ("failed", "cancelled", "timed_out"), settings.failed_retention_seconds)
    return {"settled": settled, "removed": removed}


async def settle(app: App) -> int:
    """Look at the driver of every execution that has one; return for how many it was over."""
    after, settled = "", 0
    while True:
        query = (
            select(executions.c.id, executions.c.driver)
            .where(executions.c.state.in_(OPEN), executions.c.driver.is_not(None), executions.c.id > after)
            .order_by(executions.c.id)
            .limit(BATCH)
        )
        async with app.database.connect() as connection:
            rows = (await connection.execute(query)).all()
        reports = await app.queue.find([row.driver for row in rows]) if rows else {}
        for row in rows:
            report = reports.get(row.driver)
            if report is None or report.state not in (JobState.PENDING, JobState.RUNNING):
                settled += await _settle(app, row.id, row.driver, report)
        if len(rows) < BATCH:
            return settled
        after = rows[-1].id


async def _settle(app: App, execution_id: str, driver: str, report: JobReport | None) -> int:
    """End an execution by what became of its driver, or give it another."""
    async with app.database.begin() as connection:
        claimed = await connection.execute(
            update(executions)
            .where(executions.c.id == execution_id, executions.c.driver == driver, executions.c.state.in_(OPEN))
            .values(driver=None)
        )
        if not claimed.rowcount:
            return 0  # it has gone on meanwhile
        row = await find_execution(connection, execution_id)
        if row is None:
            return 0
        if report is not None and report.state is JobState.CANCELLED:
            await end_execution(app, connection, row, "cancelled", "its job was cancelled", now=app.clock.now())
        elif report is not None and report.state is JobState.DEAD:
            reason = report.last_error or "its job became a dead letter"
            await end_execution(app, connection, row, "failed", reason, now=app.clock.now())
        else:
            job = await app.queue.enqueue(KEY, {"execution": execution_id}, connection=connection)
            await connection.execute(update(executions).where(executions.c.id == execution_id).values(driver=job.id))
    return 1


async def _remove(app: App, states: Sequence[str], seconds: float) -> int:
    before = app.clock.now() - timedelta(seconds=seconds)
    removed = 0
    while True:
        async with app.database.begin() as connection:
            query = (
                select(executions.c.id)
                .where(executions.c.finished_at < before, executions.c.state.in_(states))
                .limit(BATCH)
                .with_for_update(skip_locked=True)
            )
            ids = list((await connection.execute(query)).scalars())
            for table in (steps, signals):
                await connection.execute(delete(table).where(table.c.execution.in_(ids)))
            await connection.execute(delete(executions).where(executions.c.id.in_(ids)))
        removed += len(ids)
        if len(ids) < BATCH:
            return removed
