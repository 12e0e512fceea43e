"""New jobs: written once, also when the same idempotency key comes from many callers at a time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import case, insert, literal, null, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import JobConflictError, StoreConflictError
from nocohost.api.job import JobState
from nocohost.store.schema import idempotency, jobs
from nocohost.store.types import Instant, db_now

TRIES = 5


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be. ``run_at`` None or in the past means now; ``digest`` is that of the canonical payload."""

    id: str
    key: str
    payload: Any
    priority: int
    run_at: datetime | None
    group: str | None
    idempotency_key: str | None
    unique_seconds: float
    digest: bytes


class Inserted(NamedTuple):
    """The id of the new job, or of the one made first under its idempotency key, which has no ``enqueued_at`` here."""

    id: str
    enqueued_at: datetime | None


async def insert_job(connection: AsyncConnection, new: NewJob) -> Inserted:
    """Write the job inside the caller's write transaction, unless its idempotency key has a job already.

    Raises ``JobConflictError`` when the idempotency key belongs to a job with another payload.
    """
    if new.idempotency_key is not None:
        owner = await _own_idempotency_key(connection, new, new.idempotency_key)
        if owner != new.id:
            return Inserted(owner, None)
    due = db_now() if new.run_at is None else _not_before_now(new.run_at)
    statement = insert(jobs).values(
        id=new.id,
        key=new.key,
        state=JobState.PENDING.value,
        payload=new.payload,
        priority=new.priority,
        run_at=due,
        enqueued_at=db_now(),
        group=new.group,
        idempotency_key=new.idempotency_key,
    )
    return Inserted(new.id, await connection.scalar(statement.returning(jobs.c.enqueued_at)))


async def _own_idempotency_key(connection: AsyncConnection, new: NewJob, idempotency_key: str) -> str:
    """Take the idempotency key for the new job, or return the id of the job that has it.

    Waits for a transaction that is about to take the same key, and goes by what comes of it.
    """
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    mine = {"digest": new.digest, "job_id": new.id, "unique_seconds": new.unique_seconds}
    taking = dialect.insert(idempotency).values(key=new.key, idempotency_key=idempotency_key, **mine)
    this_key = (idempotency.c.key == new.key, idempotency.c.idempotency_key == idempotency_key)
    holder = select(
        idempotency.c.job_id, idempotency.c.digest, (idempotency.c.expires_at <= db_now()).label("is_over")
    ).where(*this_key)
    for _ in range(TRIES):
        taken = await connection.execute(taking.on_conflict_do_nothing().returning(idempotency.c.job_id))
        if taken.first() is not None:
            return new.id
        row = (await connection.execute(holder)).first()
        if row is None:
            continue  # it expired and was removed just now
        if not row.is_over:
            return _same_job(row.job_id, bytes(row.digest), new, idempotency_key)
        over = update(idempotency).where(*this_key, idempotency.c.job_id == row.job_id)
        result = await connection.execute(
            over.where(idempotency.c.expires_at <= db_now()).values(**mine, expires_at=null())
        )
        if result.rowcount:
            return new.id
    raise StoreConflictError(f"the idempotency key {idempotency_key!r} changes hands too fast", hint="try again")


def _same_job(job_id: str, digest: bytes, new: NewJob, idempotency_key: str) -> str:
    if digest != new.digest:
        raise JobConflictError(
            f"the idempotency key {idempotency_key!r} of {new.key} belongs to job {job_id}, which has another payload",
            hint="one key for one request: use a new key for a new payload",
        )
    return job_id


def _not_before_now(instant: datetime) -> Any:
    wanted = literal(instant, Instant())
    return case((wanted > db_now(), wanted), else_=db_now())
