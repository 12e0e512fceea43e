"""Jobs as people see them: read, listed, cancelled, retried, dropped; those that are over included."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    ColumnElement,
    Row,
    Select,
    and_,
    cast,
    delete,
    false,
    insert,
    literal,
    not_,
    null,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.app import Database
from nocohost.api.errors import ConfigError, JobConflictError, JobNotFoundError, PayloadError, StoreError
from nocohost.api.job import Job, JobState
from nocohost.store.endings import Ending, date_idempotency, end_jobs
from nocohost.store.nodes import node_lives
from nocohost.store.schema import history, idempotency, jobs
from nocohost.store.types import Instant, db_after, db_now, instant_text

HOT_STATES = frozenset({JobState.PENDING, JobState.RUNNING})
ENDED_STATES = frozenset(JobState) - HOT_STATES
LIST_LIMIT = 1000
SHARED = tuple(column.name for column in history.c if column.name in jobs.c)
"""The columns that a job has all its life."""
JOB_FIELDS = (
    *("id", "key", "state", "attempts", "priority", "group", "run_at", "enqueued_at", "started_at", "finished_at"),
    *("node", "orphan", "value", "last_error", "progress", "warnings"),
)
"""What a job has as the contract's JSON object."""
RENEWED = frozenset(
    {"state", "attempts", "losses", "crashes", "run_at", "progress", "node_id", "started_at", "last_error"}
)
"""What a retried job does not keep: it begins anew, and what it failed of the last time is no fault of this."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job as it is stored, whether it is over or not."""

    id: str
    key: str
    state: JobState
    payload: Any
    priority: int
    group: str | None
    run_at: datetime
    enqueued_at: datetime
    started_at: datetime | None
    attempts: int
    losses: int
    crashes: int
    fence: int
    node_id: str | None
    idempotency_key: str | None
    progress: Any
    last_error: str | None
    finished_at: datetime | None
    value: Any
    cancel_requested: bool
    orphan: bool
    """The job is running by its state, but the lease of the node that holds it has ended."""


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, newest first; ``next`` is the cursor of the following page, None on the last one."""

    items: Sequence[JobRow]
    next: str | None


def job_json(row: JobRow, warnings: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
    """Return the job as the contract's JSON object; ``warnings`` are ``{"code", "message"}``."""
    return {
        "id": row.id,
        "key": row.key,
        "state": row.state.value,
        "attempts": row.attempts,
        "priority": row.priority,
        "group": row.group,
        "run_at": instant_text(row.run_at),
        "enqueued_at": instant_text(row.enqueued_at),
        "started_at": instant_text(row.started_at),
        "finished_at": instant_text(row.finished_at),
        "node": row.node_id,
        "orphan": row.orphan,
        "value": row.value,
        "last_error": row.last_error,
        "progress": row.progress,
        "warnings": [dict(warning) for warning in warnings],
    }


def _stateless(job: Job, warnings: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    return {**dict.fromkeys(JOB_FIELDS), "id": job.id, "key": job.key, "warnings": [dict(one) for one in warnings]}


def unreadable_id(job_id: str) -> JobNotFoundError:
    """Return the error for what cannot be the id of a job."""
    return JobNotFoundError(
        f"there is no job {job_id[:100]!r}: an id is a UUID such as 01938a4e-6c1b-7cc2-8d3e-0f6f3f1f8a11",
        hint="see: nocohost jobs list",
    )


async def get_job(connection: AsyncConnection, job_id: str) -> JobRow:
    """Return one job; raises ``JobNotFoundError``."""
    canonical = _canonical(job_id)
    query = _hot().where(jobs.c.id == canonical).union_all(_cold().where(history.c.id == canonical))
    row = (await connection.execute(query)).first()
    if row is None:
        raise _not_found(job_id)
    return _row(row)


async def show_enqueued(database: Database, job: Job) -> dict[str, Any]:
    """Return the contract's JSON object for a job that ``enqueue`` has just returned, as it stands now.

    A database that went away meanwhile is no failure: whoever were told of one would make the job once more.
    """
    try:
        async with database.connect() as connection:
            return job_json(await get_job(connection, job.id), job.warnings)
    except JobNotFoundError:
        message = "the first job of this idempotency key is over, and its history is gone"
        return _stateless(job, [{"code": "job.gone", "message": message}])
    except (StoreError, ConfigError):
        message = "the job is stored; the database went away before it could be read back"
        return _stateless(job, [*job.warnings, {"code": "job.unseen", "message": message}])


async def find_jobs(connection: AsyncConnection, ids: Sequence[str]) -> Sequence[JobRow]:
    """Return those of the jobs that are there, in no order."""
    found = [str(UUID(one)) for one in ids if _is_uuid(one)]
    if not found:
        return []
    query = _hot().where(jobs.c.id.in_(found)).union_all(_cold().where(history.c.id.in_(found)))
    return [_row(row) for row in (await connection.execute(query)).all()]


async def list_jobs(
    connection: AsyncConnection,
    *,
    key: str | None = None,
    state: str | None = None,
    limit: int = 100,
    after: str | None = None,
) -> JobPage:
    """Return jobs, newest first; ``after`` is the cursor that an earlier page gave.

    Raises ``PayloadError`` for a state or cursor that cannot be. At most 1000 jobs a page.
    """
    wanted = _state(state)
    count = max(1, min(limit, LIST_LIMIT))
    before = None if after is None else _cursor(after)
    parts = []
    for table, query, states in ((jobs, _hot(), HOT_STATES), (history, _cold(), ENDED_STATES)):
        if wanted is not None and wanted not in states:
            continue
        conditions = [
            *([table.c.key == key] if key is not None else []),
            *([table.c.state == wanted.value] if wanted is not None else []),
            *([table.c.id < before] if before is not None else []),
        ]
        parts.append(select(query.where(*conditions).order_by(table.c.id.desc()).limit(count + 1).subquery()))
    whole = (parts[0].union_all(*parts[1:]) if len(parts) > 1 else parts[0]).subquery()
    rows = (await connection.execute(select(whole).order_by(whole.c.id.desc()).limit(count + 1))).all()
    items = [_row(row) for row in rows[:count]]
    return JobPage(items, items[-1].id if len(rows) > count else None)


async def cancel_job(connection: AsyncConnection, job_id: str) -> JobRow:
    """Cancel one job inside the caller's write transaction, and return it.

    A pending job, and one whose node is gone, is cancelled at once; a running one is marked, and the node that runs it
    cancels its handler within moments. Raises ``JobNotFoundError``, and ``JobConflictError`` for a job that is over.
    """
    row = await _locked(connection, job_id)
    if row.state is JobState.PENDING or row.orphan:
        await end_jobs(connection, jobs.c.id == row.id, Ending(JobState.CANCELLED, last_error="cancelled on request"))
    elif row.state is JobState.RUNNING:
        await connection.execute(update(jobs).where(jobs.c.id == row.id).values(cancel_requested=True))
    elif row.state is not JobState.CANCELLED:
        raise JobConflictError(f"job {row.id} is over: {row.state}", hint="only pending and running jobs are cancelled")
    return await get_job(connection, row.id)


async def retry_job(connection: AsyncConnection, job_id: str) -> JobRow:
    """Put a dead letter or a cancelled job back to pending, due now, with all its attempts; return it.

    Raises ``JobNotFoundError``, and ``JobConflictError`` for a job in any other state.
    """
    row = await _locked(connection, job_id)
    if row.state not in {JobState.DEAD, JobState.CANCELLED}:
        raise JobConflictError(f"job {row.id} is {row.state}", hint="only dead and cancelled jobs are retried")
    await renew_jobs(connection, [row.id])
    return await get_job(connection, row.id)


async def renew_jobs(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """Move jobs that are over back to pending, due now; the connection has locked them in its write transaction."""
    kept = [name for name in SHARED if name not in RENEWED]
    past = select(*(history.c[name] for name in kept), literal(JobState.PENDING.value), db_now())
    await connection.execute(insert(jobs).from_select([*kept, "state", "run_at"], past.where(history.c.id.in_(ids))))
    await connection.execute(delete(history).where(history.c.id.in_(ids)))
    await date_idempotency(connection, jobs, ids, null())


async def drop_job(connection: AsyncConnection, job_id: str) -> JobRow:
    """Remove a pending job or a dead letter for good, and return what it was; its idempotency key lives on.

    Raises ``JobNotFoundError``, and ``JobConflictError`` for a job in any other state.
    """
    row = await _locked(connection, job_id)
    if row.state is JobState.PENDING:
        await drop_pending(connection, [row.id])
    elif row.state is JobState.DEAD:
        await connection.execute(delete(history).where(history.c.id == row.id))
    else:
        hint = "cancel it first" if row.state is JobState.RUNNING else "history goes by itself"
        raise JobConflictError(f"job {row.id} is {row.state}; only pending and dead jobs are dropped", hint=hint)
    return row


async def drop_pending(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """Remove pending jobs; the connection has locked them in its write transaction. Their idempotency keys live on."""
    await date_idempotency(connection, jobs, ids, db_after(idempotency.c.unique_seconds))
    await connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))


async def _locked(connection: AsyncConnection, job_id: str) -> JobRow:
    """Lock the row of a job in whichever table it is, so that what is read next stays true; then read it."""
    canonical = _canonical(job_id)
    for table in (jobs, history, jobs):
        lock = select(table.c.id).where(table.c.id == canonical).with_for_update()
        if (await connection.execute(lock)).first() is not None:
            return await get_job(connection, canonical)
    raise _not_found(job_id)


def _hot() -> Select[Any]:
    orphan: ColumnElement[bool] = and_(jobs.c.state == JobState.RUNNING.value, not_(node_lives(jobs.c.node_id)))
    return select(
        *(jobs.c[name] for name in SHARED),
        cast(null(), Instant()).label("finished_at"),
        cast(null(), JSON()).label("value"),
        jobs.c.cancel_requested,
        orphan.label("orphan"),
    )


def _cold() -> Select[Any]:
    return select(
        *(history.c[name] for name in SHARED),
        history.c.finished_at,
        history.c.value,
        false().label("cancel_requested"),
        false().label("orphan"),
    )


def _row(row: Row[Any]) -> JobRow:
    return JobRow(**{**row._asdict(), "state": JobState(row.state)})


def _state(text: str | None) -> JobState | None:
    if text is None:
        return None
    if text not in set(JobState):
        raise PayloadError(f"there is no job state {text!r}", hint="one of: " + ", ".join(JobState))
    return JobState(text)


def _canonical(job_id: str) -> str:
    try:
        return str(UUID(job_id))
    except ValueError:
        raise unreadable_id(job_id) from None


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _cursor(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise PayloadError(f"{text!r} is no cursor", hint="take it from the page before") from None


def _not_found(job_id: str) -> JobNotFoundError:
    return JobNotFoundError(f"there is no job {job_id!r}", hint="it may be over, and its history past its retention")
