"""The door to the queue: any node enqueues to any declared key, in its own transaction or its caller's."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nocohost.api.errors import (
    JobNotFoundError,
    NestedWriteError,
    PayloadError,
    StoreError,
    StoreUnavailableError,
    UnknownKeyError,
)
from nocohost.api.job import Job
from nocohost.api.keys import nearest
from nocohost.api.service import JobType
from nocohost.node.identity import new_id
from nocohost.queue.payload import checked_payload, read_payload
from nocohost.store.commits import on_commit
from nocohost.store.database import SqlDatabase
from nocohost.store.insertion import NewJob, insert_job
from nocohost.store.jobs import get_job

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

IDEMPOTENCY_KEY_LENGTH = 255
READ_BACK_SECONDS = 5.0
"""How long a lost answer to a commit is worth waiting for the database to come back."""
PRIORITIES = range(-(2**31), 2**31)


def _nobody(key: str) -> None:
    """Wake nobody."""


class JobQueue:
    """Makes jobs; see ``nocohost.api.app.Queue`` for the promise.

    ``on_enqueued(key)`` is called after each job: right after the commit when the queue has its own transaction, and
    as the caller's transaction begins to commit when the job joins one. It is a hint; polling is the guarantee.
    """

    def __init__(
        self,
        database: SqlDatabase,
        job_type: Callable[[str], JobType | None],
        *,
        keys: Collection[str],
        external_keys: Collection[str],
        payload_bytes: int,
    ) -> None:
        self._database = database
        self._job_type = job_type
        self._keys = frozenset(keys)
        self._external = frozenset(external_keys)
        self._payload_bytes = payload_bytes
        self.on_enqueued: Callable[[str], None] = _nobody

    async def enqueue(
        self,
        key: str,
        payload: Any,
        *,
        connection: "AsyncConnection | None" = None,
        idempotency_key: str | None = None,
        run_at: datetime | None = None,
        priority: int | None = None,
        group: str | None = None,
    ) -> Job:
        """Make one job under ``key`` and return it; see ``nocohost.api.app.Queue.enqueue``."""
        new = self._new_job(key, payload, idempotency_key, run_at, priority, group)
        if connection is not None:
            job = await self._insert(connection, new)
            if job.id == new.id:
                on_commit(connection, lambda: self.on_enqueued(key))
            return job
        if self._database.in_write_transaction:
            raise NestedWriteError(
                f"enqueue of {key} inside database.begin() would wait for itself",
                hint="pass the transaction along: enqueue(..., connection=connection)",
            )
        job = await self._enqueue_alone(new)
        if job.id == new.id:
            self.on_enqueued(key)
        return job

    async def enqueue_many(
        self,
        key: str,
        payloads: Iterable[Any],
        *,
        connection: "AsyncConnection | None" = None,
        run_at: datetime | None = None,
        priority: int | None = None,
        group: str | None = None,
    ) -> Sequence[Job]:
        """Make one job for each payload, all or none; see ``nocohost.api.app.Queue.enqueue_many``."""
        news = [self._new_job(key, payload, None, run_at, priority, group) for payload in payloads]
        if connection is not None:
            jobs = [await self._insert(connection, new) for new in news]
            on_commit(connection, lambda: self.on_enqueued(key))
            return jobs
        async with self._database.begin() as own:
            jobs = [await self._insert(own, new) for new in news]
        self.on_enqueued(key)
        return jobs

    def _new_job(
        self,
        key: str,
        payload: Any,
        idempotency_key: str | None,
        run_at: datetime | None,
        priority: int | None,
        group: str | None,
    ) -> NewJob:
        if key not in self._keys and key not in self._external:
            suggestion = nearest(key, self._keys | self._external)
            raise UnknownKeyError(
                f"no installed plugin declares the service key {key!r}",
                hint=f"did you mean {suggestion!r}?" if suggestion else "see: nocohost plugins list",
            )
        job_type = self._job_type(key) or JobType(key)
        value, digest = checked_payload(key, payload, job_type.payload, self._payload_bytes)
        return NewJob(
            id=new_id(),
            key=key,
            payload=value,
            priority=_checked_priority(job_type.priority if priority is None else priority),
            run_at=_checked_instant(run_at),
            group=group,
            idempotency_key=_checked_idempotency_key(idempotency_key),
            unique_seconds=job_type.unique_seconds,
            digest=digest,
        )

    async def _enqueue_alone(self, new: NewJob) -> Job:
        """Write the job in a transaction of its own; an answer that got lost is read back before it is reported."""
        written = False
        try:
            async with self._database.begin() as connection:
                job = await self._insert(connection, new)
                written = True
            return job
        except StoreUnavailableError:
            if not written:
                raise
            return await self._read_back(job)

    async def _read_back(self, job: Job) -> Job:
        try:
            await self._database.wait(READ_BACK_SECONDS)
            async with self._database.connect() as connection:
                await get_job(connection, job.id)
        except (JobNotFoundError, StoreError) as error:
            raise StoreUnavailableError(
                f"the database went away while job {job.id} of {job.key} was committed",
                hint="it may have been stored; enqueue again with an idempotency key to be sure",
            ) from error
        return job

    async def _insert(self, connection: "AsyncConnection", new: NewJob) -> Job:
        job_type = self._job_type(new.key)
        payload = read_payload(new.key, new.payload, job_type.payload if job_type else None)
        job_id, enqueued_at = await insert_job(connection, new)
        if job_id == new.id:
            return Job(job_id, new.key, payload, enqueued_at=enqueued_at, group=new.group)
        try:
            first = await get_job(connection, job_id)
        except JobNotFoundError:  # it is over and gone, its idempotency key is not
            return Job(job_id, new.key, payload)
        attempt = first.attempts + 1
        return Job(job_id, new.key, payload, attempt, first.fence, first.enqueued_at, first.group)


def _checked_priority(priority: int) -> int:
    if isinstance(priority, bool) or not isinstance(priority, int) or priority not in PRIORITIES:
        raise PayloadError(f"priority {priority!r} cannot be", hint="an integer of 32 bits; lower runs first")
    return priority


def _checked_instant(run_at: datetime | None) -> datetime | None:
    if run_at is None:
        return None
    if not isinstance(run_at, datetime) or run_at.utcoffset() is None:
        raise PayloadError(
            f"run_at {run_at!s} has no time zone", hint="give an aware instant, such as datetime(..., tzinfo=UTC)"
        )
    return run_at


def _checked_idempotency_key(idempotency_key: str | None) -> str | None:
    if idempotency_key is None:
        return None
    if not 0 < len(idempotency_key) <= IDEMPOTENCY_KEY_LENGTH or not idempotency_key.isprintable():
        raise PayloadError(
            f"the idempotency key {idempotency_key[:40]!r} cannot be",
            hint=f"1 to {IDEMPOTENCY_KEY_LENGTH} printable characters",
        )
    return idempotency_key
