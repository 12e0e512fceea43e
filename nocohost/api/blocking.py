"""What a plain handler sees: the job and the app of an ``async`` one, whose methods block instead of being awaited."""

from abc import abstractmethod
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar

from nocohost.api.app import App
from nocohost.api.bulk import BlockingBulk
from nocohost.api.changes import Record
from nocohost.api.job import Job
from nocohost.api.resource import Resource
from nocohost.api.resources import Page
from nocohost.api.storage import BINARY, UNKEPT_SECONDS, StoredFile

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")


class BlockingClaim(Protocol):
    """What lets a running attempt write; as ``nocohost.api.job.Claim``, for a thread."""

    def progress(self, done: int, total: int | None, unit: str) -> None:
        """Store how far the attempt is."""

    def transaction(self) -> "AbstractContextManager[Connection]":
        """Open a transaction whose commit is refused once the claim is lost."""

    @property
    def cancel_requested(self) -> bool:
        """Tell whether the attempt has been cancelled."""


@dataclass(frozen=True, slots=True)
class BlockingJob:
    """One job, as a plain handler sees it; the fields are those of ``Job``.

    Once the attempt is cancelled, ``cancel_requested`` is true and every other call here raises
    ``AttemptCancelledError``; a handler that works for long without calling anything should look at it now and then.
    """

    id: str
    key: str
    payload: Any
    attempt: int
    fence: int
    enqueued_at: datetime | None
    group: str | None
    claim: BlockingClaim = field(repr=False, compare=False)
    awaited: Job | None = field(default=None, repr=False, compare=False)
    """The job as coroutines see it, for those that the handler runs by ``app.wait``."""

    @property
    def cancel_requested(self) -> bool:
        """Tell whether this attempt should end: somebody cancelled the job, its time is over, or the node stops."""
        return self.claim.cancel_requested

    def progress(self, done: int, total: int | None = None, unit: str = "") -> None:
        """Store how far this attempt is; raises ``FenceLostError`` when it no longer holds the job."""
        self.claim.progress(done, total, unit)

    def transaction(self) -> "AbstractContextManager[Connection]":
        """Open a database transaction that commits only while this attempt holds the job; see ``Job.transaction``."""
        return self.claim.transaction()


class BlockingDatabase(Protocol):
    """The database, with SQLAlchemy's plain connections."""

    def begin(self) -> "AbstractContextManager[Connection]":
        """Open a write transaction; see ``Database.begin``."""

    def connect(self) -> "AbstractContextManager[Connection]":
        """Open a connection for reading; see ``Database.connect``."""


class BlockingQueue(Protocol):
    """The door to the durable queue."""

    def enqueue(
        self,
        key: str,
        payload: Any,
        *,
        connection: "Connection | None" = None,
        idempotency_key: str | None = None,
        run_at: datetime | None = None,
        priority: int | None = None,
        group: str | None = None,
    ) -> Job:
        """Make one job under ``key`` and return it; see ``Queue.enqueue``."""

    def enqueue_many(
        self,
        key: str,
        payloads: Iterable[Any],
        *,
        connection: "Connection | None" = None,
        run_at: datetime | None = None,
        priority: int | None = None,
        group: str | None = None,
    ) -> Sequence[Job]:
        """Make one job for each payload, all or none; see ``Queue.enqueue_many``."""


class BlockingResources(Protocol):
    """The door to every declared resource; each method is that of ``Resources``, and blocks.

    ``options`` are the keyword arguments of that method; ``connection`` is a plain one, such as ``job.transaction()``
    gives.
    """

    @property
    def declared(self) -> Mapping[str, Resource]:
        """Return every resource that an installed plugin declares, by name."""

    @property
    def bulk(self) -> BlockingBulk:
        """Return the door for code that reads or writes many records by statements of its own."""

    def list(self, name: str, *, connection: "Connection | None" = None, **options: Any) -> Page:
        """Return one page of records."""

    def iterate(
        self, name: str, *, page: int = 1000, connection: "Connection | None" = None, **options: Any
    ) -> Iterator[Record]:
        """Yield every record, page by page."""

    def count(self, name: str, *, connection: "Connection | None" = None, **options: Any) -> int:
        """Return how many records there are."""

    def get(self, name: str, key: Any, *, connection: "Connection | None" = None, **options: Any) -> Record:
        """Return the record of this primary key."""

    def create(self, name: str, values: Record, *, connection: "Connection | None" = None) -> Record:
        """Create a record and return it whole."""

    def create_many(self, name: str, rows: Iterable[Record], *, connection: "Connection | None" = None) -> int:
        """Create records, all or none, and return how many."""

    def update(self, name: str, key: Any, changes: Record, *, connection: "Connection | None" = None) -> Record:
        """Change some fields of a record and return it whole."""

    def delete(self, name: str, key: Any, *, connection: "Connection | None" = None) -> Record:
        """Delete a record and return what it was."""


class BlockingStorage(Protocol):
    """The door to stored files; each method is that of ``Storage``, and blocks. Files are written and read as files."""

    def create(
        self,
        *,
        name: str,
        media_type: str = BINARY,
        owner: str | None = None,
        keep_seconds: float | None = UNKEPT_SECONDS,
        max_bytes: int | None = None,
    ) -> "AbstractContextManager[FileWriter]":
        """Write a file within the block: leaving it stores the file, an exception leaves nothing behind."""

    def open(self, id: str) -> BinaryIO:  # noqa: A002
        """Open a stored file for reading; it can be sought in, and is buffered."""

    def find(self, id: str, *, connection: "Connection | None" = None) -> StoredFile | None:  # noqa: A002
        """Return the file of this id; None without one."""

    def keep(
        self,
        id: str,  # noqa: A002
        *,
        seconds: float | None = None,
        connection: "Connection | None" = None,
    ) -> StoredFile:
        """Let the file last until it is removed, or ``seconds`` from now; with ``connection`` from its commit on."""

    def remove(self, id: str, *, connection: "Connection | None" = None) -> bool:  # noqa: A002
        """Remove the file, with ``connection`` at its commit; return False without one."""


class FileWriter(BinaryIO):
    """A file that is being written, from its beginning to its end: it cannot be sought in."""

    @property
    @abstractmethod
    def stored(self) -> StoredFile:
        """Return the file once it is stored: after the block, or after ``close()``."""


class BlockingApp(App, Protocol):
    """The app of a plain handler: ``queue``, ``database``, ``resources`` and ``storage`` block.

    ``wait`` is for the rest.
    """

    @property
    def queue(self) -> BlockingQueue:  # type: ignore[override]
        """Return the door to the durable queue."""

    @property
    def database(self) -> BlockingDatabase:  # type: ignore[override]
        """Return the database."""

    @property
    def resources(self) -> BlockingResources:  # type: ignore[override]
        """Return the door to the tables that plugins share."""

    @property
    def storage(self) -> BlockingStorage:  # type: ignore[override]
        """Return the door to stored files."""

    @property
    def awaited(self) -> App:
        """Return the app as coroutines see it, for those that run by ``wait``."""

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the event loop and wait for it: ``app.wait(app.signals.send("rates"))``."""
