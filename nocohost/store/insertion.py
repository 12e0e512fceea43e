"""New jobs: written once, also when the same idempotency key comes from many callers at a time."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from sqlalchemy import null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import JobConflictError, StoreConflictError
from nocohost.store.hot import postgresql, sqlite, statements
from nocohost.store.hot.values import NewJob
from nocohost.store.schema import idempotency
from nocohost.store.types import MICROSECOND, db_now
from nocohost.store.upsert import insert_into

TRIES = 5


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
    (enqueued_at,) = await insert_jobs(connection, [new])
    return Inserted(new.id, enqueued_at)


async def insert_jobs(connection: AsyncConnection, news: Sequence[NewJob]) -> Sequence[datetime]:
    """Write jobs inside the caller's write transaction, their idempotency keys unasked; return when each was enqueued.

    One statement on PostgreSQL.
    """
    if connection.dialect.name == "postgresql":
        rows = await connection.exec_driver_sql(statements.INSERT, postgresql.insertion(news))
        instants: dict[str, datetime] = dict(tuple(row) for row in cast("Iterable[Any]", rows))
        return [instants[new.id].astimezone(UTC) for new in news]
    now = await connection.scalar(select(db_now()))
    assert now is not None
    await connection.exec_driver_sql(sqlite.INSERT, sqlite.insertion(news, now))
    return [now + MICROSECOND * place for place in range(len(news))]


async def _own_idempotency_key(connection: AsyncConnection, new: NewJob, idempotency_key: str) -> str:
    """Take the idempotency key for the new job, or return the id of the job that has it.

    Waits for a transaction that is about to take the same key, and goes by what comes of it.
    """
    mine = {"digest": new.digest, "job_id": new.id, "unique_seconds": new.unique_seconds}
    taking = insert_into(connection, idempotency).values(key=new.key, idempotency_key=idempotency_key, **mine)
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
