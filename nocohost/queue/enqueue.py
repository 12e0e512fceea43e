"""The door to the queue: any node enqueues to any declared key, in its own transaction or its caller's."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import from_json

from nocohost.api.errors import (
    ConfigError,
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
from nocohost.node.identity import new_id, new_ids
from nocohost.queue.grouping import Grouped
from nocohost.queue.lookout import Lookout
from nocohost.queue.payload import checked_payload, digest_of
from nocohost.queue.reports import JobReports
from nocohost.store.commits import on_commit
from nocohost.store.database import SqlDatabase
from nocohost.store.hot.values import NewJob
from nocohost.store.insertion import insert_job, insert_jobs
from nocohost.store.jobs import get_job

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

TEXT_LENGTH = 255
PAGE_JOBS = 1000
"""So many jobs go into one statement."""
READ_BACK_SECONDS = 5.0
"""How long a lost answer to a commit is worth waiting for the database to come back."""
PRIORITIES = range(-(2**31), 2**31)


class Terms(NamedTuple):
    """What all jobs of one call share, checked once."""

    key: str
    job_type: JobType
    priority: int
    run_at: datetime | None
    group: str | None


def _nobody(key: str, jobs: int) -> None:
    """Wake nobody."""


class JobQueue:
    """Makes jobs; see ``nocohost.api.app.Queue`` for the promise.

    ``on_enqueued(key, jobs)`` is called after the commit of so many jobs, whosever transaction it is. It is a hint;
    polling is the guarantee.
    """

    def __init__(
        self,
        database: SqlDatabase,
        job_type: Callable[[str], JobType | None],
        *,
        keys: Collection[str],
        external_keys: Collection[str],
        payload_bytes: int,
        lookout: Lookout | None = None,
    ) -> None:
        self._lookout = lookout
        self._database = database
        self._job_type = job_type
        self._keys = frozenset(keys)
        self._external = frozenset(external_keys)
        self._payload_bytes = payload_bytes
        self._lone: Grouped[NewJob, datetime] = Grouped(self._insert_rows)
        self.on_enqueued: Callable[[str, int], None] = _nobody
        self.reports = JobReports(database, lookout)
        self.find, self.cancel, self.retry = self.reports.find, self.reports.cancel, self.reports.retry

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
        terms = self._terms(key, run_at, priority, group)
        new, seen = self._new_job(terms, payload, idempotency_key, new_id())
        if connection is None:
            self._refuse_nested(key)
        warnings = await self._warnings(key, connection)
        if connection is not None:
            job = await self._insert(connection, new, seen)
            if job.id == new.id:
                on_commit(connection, lambda: self.on_enqueued(key, 1))
        else:
            if idempotency_key is None:
                job = _made(new, seen, await self._insert_alone(new), ())
            else:
                job = await self._enqueue_once(new, seen)
            if job.id == new.id:
                self.on_enqueued(key, 1)
        return replace(job, warnings=warnings) if warnings else job

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
        terms = self._terms(key, run_at, priority, group)
        news, ids = [], new_ids()
        for place, payload in enumerate(payloads, start=1):
            try:
                news.append(self._new_job(terms, payload, None, next(ids)))
            except PayloadError as error:
                raise PayloadError(
                    f"payload {place}: {error.message}", hint=error.hint, code=error.code, faults=error.faults
                ) from error
        if not news:
            return []
        if connection is None:
            self._refuse_nested(key)
        warnings = await self._warnings(key, connection)
        rows = [new for new, _ in news]
        if connection is not None:
            instants = await _insert_pages(connection, rows)
            on_commit(connection, lambda: self.on_enqueued(key, len(rows)))
        else:
            instants = await self._insert_together(rows)
            self.on_enqueued(key, len(rows))
        return [_made(new, seen, instant, warnings) for (new, seen), instant in zip(news, instants, strict=True)]

    async def _warnings(self, key: str, connection: "AsyncConnection | None") -> Sequence[Mapping[str, str]]:
        """Return what is to be said of a job under ``key``; raises ``UnservedError`` where the policy is to refuse."""
        if self._lookout is None or self._lookout.trusts(key):
            return ()
        return await self._lookout.warnings(key, connection)

    @property
    def payload_bytes(self) -> int:
        """Return how large a payload may be."""
        return self._payload_bytes

    async def enqueue_texts(self, jobs: Sequence[tuple[str, str]], connection: "AsyncConnection") -> None:
        """Make a job of each (key, payload as JSON text) in the caller's transaction.

        Nothing is refused here, whoever declares or serves the key: a write must not fail for those it is told to. A
        payload that does not fit becomes a dead letter where it is run.
        """
        news = []
        for key, text in jobs:
            job_type = self._job_type(key) or JobType(key)
            news.append(NewJob(new_id(), key, text, job_type.priority, None, None, None, job_type.unique_seconds, b""))
        await _insert_pages(connection, news)
        for key, count in Counter(key for key, _ in jobs).items():
            on_commit(connection, partial(self.on_enqueued, key, count))

    def checked(self, key: str, payload: Any) -> Any:
        """Return the payload as it is stored under ``key``; raises as ``enqueue`` does, and makes no job."""
        new, _ = self._new_job(self._terms(key, None, None, None), payload, None, "")
        return from_json(new.payload)

    def _terms(self, key: str, run_at: datetime | None, priority: int | None, group: str | None) -> Terms:
        self.require_key(key)
        job_type = self._job_type(key) or JobType(key)
        return Terms(
            key,
            job_type,
            _checked_priority(job_type.priority if priority is None else priority),
            _checked_instant(run_at),
            _checked_text("group", group),
        )

    def _new_job(self, terms: Terms, payload: Any, idempotency_key: str | None, job_id: str) -> tuple[NewJob, Any]:
        key, job_type, priority, run_at, group = terms
        text, seen = checked_payload(key, payload, job_type.payload, self._payload_bytes)
        digest = b"" if idempotency_key is None else digest_of(text)
        checked_key = _checked_text("idempotency key", idempotency_key)
        new = NewJob(job_id, key, text, priority, run_at, group, checked_key, job_type.unique_seconds, digest)
        return new, seen

    def require_key(self, key: str) -> None:
        """Raise ``UnknownKeyError`` for a key that nobody declares."""
        if key not in self._keys and key not in self._external:
            suggestion = nearest(key, self._keys | self._external)
            raise UnknownKeyError(
                f"no installed plugin declares the service key {key!r}",
                hint=f"did you mean {suggestion!r}?" if suggestion else "see: nocohost plugins list",
            )

    def _refuse_nested(self, key: str) -> None:
        if self._database.in_write_transaction:
            raise NestedWriteError(
                f"enqueue of {key} inside database.begin() would wait for itself",
                hint="pass the transaction along: enqueue(..., connection=connection)",
            )

    async def _insert_rows(self, news: Sequence[NewJob]) -> Sequence[datetime]:
        return await self._database.hot.insert(news)

    async def _insert_together(self, rows: Sequence[NewJob]) -> Sequence[datetime]:
        instants: Sequence[datetime] = ()
        try:
            if len(rows) <= PAGE_JOBS:
                instants = await self._database.hot.insert(rows)
            else:
                async with self._database.begin() as connection:
                    instants = await _insert_pages(connection, rows)
        except StoreUnavailableError as error:
            error.unsure |= bool(instants)  # the transaction was whole, so it was its commit that was not answered
            instants = [await self._find(rows[-1].id, rows[-1].key, error)] * len(rows)
        return instants

    async def _insert_alone(self, new: NewJob) -> datetime:
        try:
            return await self._lone.put(new)
        except StoreUnavailableError as error:
            return await self._find(new.id, new.key, error)

    async def _enqueue_once(self, new: NewJob, seen: Any) -> Job:
        """Write a job with an idempotency key, in a transaction of its own."""
        job: Job | None = None
        try:
            async with self._database.begin() as connection:
                job = await self._insert(connection, new, seen)
        except StoreUnavailableError as error:
            if job is None:
                raise
            error.unsure = True  # the transaction was whole, so it was its commit that was not answered
            await self._find(job.id, job.key, error)
        return job

    async def _find(self, job_id: str, key: str, cause: StoreUnavailableError) -> datetime:
        """Return when the job was enqueued whose commit was not answered; raises when it is not there."""
        if not cause.unsure:
            raise cause
        try:
            await self._database.wait(READ_BACK_SECONDS)
            async with self._database.connect() as connection:
                return (await get_job(connection, job_id)).enqueued_at
        except (JobNotFoundError, StoreError, ConfigError):
            raise StoreUnavailableError(
                f"the database went away while job {job_id} of {key} was committed",
                hint=f"it may have been stored, with all jobs of its call: nocohost jobs show {job_id} tells",
            ) from cause

    async def _insert(self, connection: "AsyncConnection", new: NewJob, seen: Any) -> Job:
        job_id, enqueued_at = await insert_job(connection, new)
        if job_id == new.id:
            return _made(new, seen, enqueued_at, ())
        try:
            first = await get_job(connection, job_id)
        except JobNotFoundError:  # it is over and gone, its idempotency key is not
            return Job(job_id, new.key, seen)
        attempt = first.attempts + 1
        return Job(job_id, new.key, seen, attempt, first.fence, first.enqueued_at, first.group)


async def _insert_pages(connection: "AsyncConnection", rows: Sequence[NewJob]) -> Sequence[datetime]:
    """Insert jobs page by page, so that no statement grows without end."""
    pages = [rows[start : start + PAGE_JOBS] for start in range(0, len(rows), PAGE_JOBS)]
    return [instant for page in pages for instant in await insert_jobs(connection, page)]


def _made(new: NewJob, seen: Any, enqueued_at: datetime | None, warnings: Sequence[Mapping[str, str]]) -> Job:
    return Job(new.id, new.key, seen, enqueued_at=enqueued_at, group=new.group, warnings=warnings)


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
    try:
        return run_at.astimezone(UTC)
    except OverflowError:
        raise PayloadError(
            f"run_at {run_at!s} is outside the years 1 to 9999 in UTC", hint="leave it out to run the job now"
        ) from None


def _checked_text(what: str, text: str | None) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str) or not 0 < len(text) <= TEXT_LENGTH or not text.isprintable():
        raise PayloadError(
            f"the {what} {str(text)[:40]!r} cannot be", hint=f"a text of 1 to {TEXT_LENGTH} printable characters"
        )
    return text
