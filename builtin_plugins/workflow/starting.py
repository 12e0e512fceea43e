"""Making executions, waking them and ending them: statements that belong to somebody's transaction.

An execution has one driver: the one job that may go on with it. It is named in the row of the execution, from its
start on, and given up only when nothing has happened meanwhile that it has not looked at: then it waits, without a job.
Whatever happens to it then makes the next driver, in the same transaction.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from builtin_plugins.workflow import KEY
from builtin_plugins.workflow.records import OPEN, ExecutionRow, new_id
from builtin_plugins.workflow.tables import executions
from nocohost import App, JobConflictError, JobNotFoundError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

POKE = "workflow.poke"
"""The signal that a running execution has something to look at; its payload names it."""
ENDED = "workflow.ended"
"""The signal that an execution has ended for whose end somebody waits."""
INSERT = insert(executions)
URGENT = -100
"""The priority of an execution that somebody waits for."""


@dataclass(frozen=True, slots=True)
class NewExecution:
    """An execution that is to be made."""

    workflow: str
    version: int
    trigger: Mapping[str, Any]
    created_by: str
    parent: ExecutionRow | None = None
    parent_path: str | None = None
    parent_iteration: str | None = None
    request: str | None = None
    digest: str | None = None
    waited: bool = False


async def insert_execution(app: App, connection: "AsyncConnection", new: NewExecution) -> ExecutionRow:
    """Make an execution and its first job."""
    execution_id = new_id()
    priority = URGENT if new.waited else None
    payload = {"execution": execution_id}
    job = await app.queue.enqueue(KEY, payload, connection=connection, priority=priority)
    row = ExecutionRow(
        id=execution_id,
        workflow=new.workflow,
        version=new.version,
        state="queued",
        reason=None,
        trigger=dict(new.trigger),
        output=None,
        driver=job.id,
        pokes=0,
        cancel_requested=False,
        timer=None,
        timer_at=None,
        turn=0,
        depth=0 if new.parent is None else new.parent.depth + 1,
        parent=None if new.parent is None else new.parent.id,
        parent_path=new.parent_path,
        parent_iteration=new.parent_iteration,
        waited=new.waited,
        created_by=new.created_by,
        created_at=job.enqueued_at or app.clock.now(),
        started_at=None,
        deadline_at=None,
        finished_at=None,
    )
    values = {column: getattr(row, column) for column in row.__slots__}
    await connection.execute(INSERT, {**values, "request": new.request, "digest": new.digest})
    return row


async def wake(app: App, connection: "AsyncConnection", execution_id: str, *, priority: int | None = None) -> None:
    """Have an open execution looked at: by its driver, or by a new one if it waits."""
    driver = (
        await connection.execute(
            update(executions)
            .where(executions.c.id == execution_id, executions.c.state.in_(OPEN))
            .values(pokes=executions.c.pokes + 1)
            .returning(executions.c.driver)
        )
    ).first()
    if driver is None:
        return
    if driver[0] is None:
        job = await app.queue.enqueue(KEY, {"execution": execution_id}, connection=connection, priority=priority)
        await connection.execute(update(executions).where(executions.c.id == execution_id).values(driver=job.id))
    else:
        await app.signals.send(POKE, {"id": execution_id}, connection=connection)


async def end_execution(
    app: App,
    connection: "AsyncConnection",
    row: ExecutionRow,
    state: str,
    reason: str | None,
    output: Any = None,
    *,
    now: datetime,
) -> ExecutionRow:
    """End an execution, and tell whoever waits for it."""
    ended = replace(
        row, state=state, reason=reason, output=output, driver=None, timer=None, timer_at=None, finished_at=now
    )
    await connection.execute(
        update(executions)
        .where(executions.c.id == row.id)
        .values(
            state=state,
            reason=None if reason is None else reason[:2000],
            output=output,
            driver=None,
            timer=None,
            timer_at=None,
            started_at=row.started_at,
            deadline_at=row.deadline_at,
            finished_at=now,
        )
    )
    if row.timer is not None:
        await drop_job(app, connection, row.timer)
    if row.parent is not None:
        await wake(app, connection, row.parent)
    if row.waited:
        await app.signals.send(ENDED, {"id": row.id}, connection=connection)
    return ended


async def request_cancel(app: App, connection: "AsyncConnection", execution_id: str, reason: str) -> None:
    """Ask an open execution to end; its driver does, or a new one."""
    await connection.execute(
        update(executions)
        .where(executions.c.id == execution_id, executions.c.state.in_(OPEN))
        .values(cancel_requested=True, reason=reason)
    )
    await wake(app, connection, execution_id, priority=URGENT)


async def open_children(connection: "AsyncConnection", execution_id: str) -> list[str]:
    """Return the ids of the executions that this one has started and that have not ended."""
    query = select(executions.c.id).where(executions.c.parent == execution_id, executions.c.state.in_(OPEN))
    return list((await connection.execute(query)).scalars())


async def set_timer(app: App, connection: "AsyncConnection", row: ExecutionRow, at: datetime) -> str:
    """Have the execution gone on with at an instant, by a job of its own; return its id."""
    if row.timer is not None:
        await drop_job(app, connection, row.timer)
    payload = {"execution": row.id, "due": at.isoformat()}
    return (await app.queue.enqueue(KEY, payload, connection=connection, run_at=at)).id


async def drop_job(app: App, connection: "AsyncConnection", job_id: str) -> None:
    """Cancel a job, if there is anything to cancel."""
    try:
        await app.queue.cancel(job_id, connection=connection)
    except (JobNotFoundError, JobConflictError):
        return


def deadline(now: datetime, seconds: float | None) -> datetime | None:
    """Return when an execution that starts now has to end."""
    return None if seconds is None else now + timedelta(seconds=seconds)


def overdue(row: ExecutionRow, now: datetime) -> str | None:
    """Return why an execution has to end by now; None while its time is not over."""
    at = row.deadline_at
    if at is None or now < at:
        return None
    return f"it took longer than its timeout, {(at - (row.started_at or at)).total_seconds():g} s"
