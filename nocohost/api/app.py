"""What plugin code sees of the node it runs on, as narrow Protocols. The host supplies them."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from nocohost.api.clock import Clock
from nocohost.api.job import Job, JobReport
from nocohost.api.log import Log
from nocohost.api.mode import WorkerMode
from nocohost.api.resources import Resources
from nocohost.api.schedule import Schedule
from nocohost.api.storage import Storage

if TYPE_CHECKING:
    from pydantic import BaseModel
    from sqlalchemy.ext.asyncio import AsyncConnection

ModelT = TypeVar("ModelT", bound="BaseModel")


class Node(Protocol):
    """Who this process is among the nodes of the cluster."""

    @property
    def id(self) -> str:
        """Return the boot id: new at every start, never reused."""

    @property
    def name(self) -> str:
        """Return the name people know the node by: the host's name unless ``NOCOHOST_NODE_NAME`` says otherwise."""


class Database(Protocol):
    """The database, shared by every node of the cluster."""

    def begin(self) -> "AbstractAsyncContextManager[AsyncConnection]":
        """Open a write transaction: leaving the block commits it, an exception rolls it back.

        On SQLite one write transaction runs at a time in a process; one older than 5 s is rolled back and named in the
        log, and its next statement raises ``TransactionExpiredError``. Driver errors arrive as ``StoreError``.
        """

    def connect(self) -> "AbstractAsyncContextManager[AsyncConnection]":
        """Open a connection for reading; a write through it is refused on both databases."""


class Queue(Protocol):
    """The door to the durable queue, open on every node whatever its mode."""

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
        """Make one job under ``key`` and return it.

        With ``connection`` the job is part of the caller's transaction: both commit or neither. ``payload`` is checked
        against the job type here, on whichever node this is. The same ``idempotency_key`` with the same payload
        returns the first job; with another payload it raises ``JobConflictError``. ``run_at`` in the past means now.
        ``priority`` is the job type's when None; lower runs first. Jobs of one ``group`` of a key run one at a time, in
        the order in which they were enqueued.

        Enqueues of concurrent tasks share a statement and a commit; each returns after its commit.

        A key that no live node serves gives the job a warning, or with ``queue.unserved = refuse`` ``UnservedError``.

        Raises ``UnknownKeyError``, ``PayloadError``, ``PayloadTooLargeError``, ``JobConflictError``, ``UnservedError``,
        ``StoreError``.
        """

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
        """Make one job for each payload, all or none, and return them in the order of the payloads.

        Everything else is as with ``enqueue``; a payload that does not fit is named by its place, counted from 1.
        """

    async def find(self, ids: Iterable[str], *, connection: "AsyncConnection | None" = None) -> Mapping[str, JobReport]:
        """Return where these jobs stand, by id, those that are over included; ones that are gone are left out."""

    async def cancel(self, job_id: str, *, connection: "AsyncConnection | None" = None) -> JobReport:
        """Cancel one job: a pending one at once, a running one by asking the node that runs it; return what it is then.

        Raises ``JobNotFoundError``, and ``JobConflictError`` for a job that is over.
        """

    async def retry(self, job_id: str, *, connection: "AsyncConnection | None" = None) -> JobReport:
        """Put a dead or cancelled job back to pending, due now, with all its attempts, and return it.

        Raises ``JobNotFoundError``, and ``JobConflictError`` for a job in any other state.
        """


class Hooks(Protocol):
    """The hooks that plugins publish, as far as they are active on this node."""

    def call(self, name: str, /, **arguments: Any) -> Sequence[tuple[str, Any]]:
        """Call every active implementation of the published hook ``name``; return (plugin, result) pairs.

        An implementation that raises is logged and left out. An unpublished name raises ``PluginContractError``.
        """


class ScheduleView(Protocol):
    """A schedule as it stands in the database."""

    @property
    def schedule(self) -> Schedule:
        """Return what it enqueues, and when."""

    @property
    def source(self) -> str:
        """Return ``code`` for a schedule that a service registers, ``database`` for one that was set."""

    @property
    def next_at(self) -> datetime | None:
        """Return the next tick; None while it is paused."""

    @property
    def last_at(self) -> datetime | None:
        """Return the latest tick that made a job."""


class Schedules(Protocol):
    """The schedules kept in the database, beside those that services register."""

    async def set(self, schedule: Schedule, *, connection: "AsyncConnection | None" = None) -> None:
        """Make the schedule, or change the one of this name; when its times change, the next tick is counted from now.

        With ``connection`` it is part of the caller's transaction: both commit or neither. A paused schedule stays
        paused. Raises ``UnknownKeyError``, ``PayloadError`` also for a cron expression or time zone that cannot be, and
        ``JobConflictError`` for the name of a schedule in code.
        """

    async def remove(self, name: str, *, connection: "AsyncConnection | None" = None) -> bool:
        """Remove the schedule of this name, in the caller's transaction with ``connection``; return False without one.

        One in code raises ``JobConflictError`` as long as a live node serves the service that registers it.
        """

    async def list(self) -> Sequence[ScheduleView]:
        """Return every schedule, by name."""

    async def tick_of(self, name: str, job_id: str) -> datetime | None:
        """Return the instant of the tick of the schedule ``name`` that this job was made for.

        It may be long before the job was, for one that was caught up. None for a job that no tick has made, such as one
        of ``schedules run``, and a day or more after the tick.
        """


class Lock(Protocol):
    """A lock that is held: a lease that is renewed until the block is left."""

    @property
    def fence(self) -> int:
        """Return a number that rises each time the lock changes hands; show it to what the lock protects."""

    @property
    def is_held(self) -> bool:
        """Tell whether the lease holds by this node's account; False from the moment it may have ended."""


class Locks(Protocol):
    """Locks over the whole cluster, each a lease in the database."""

    def acquire(
        self, name: str, *, lease_seconds: float = 15.0, wait_seconds: float | None = None
    ) -> "AbstractAsyncContextManager[Lock]":
        """Hold the lock ``name`` for the block, waiting for it up to ``wait_seconds`` (None: for ever).

        The lease is renewed while the block runs; when it cannot be, the task inside is cancelled before the lease ends
        and ``LockLostError`` is raised. Raises ``LockTimeoutError`` when the wait is over.
        """


class Signals(Protocol):
    """Short messages to all nodes: hints, which may be lost, never data that anybody must have."""

    async def send(
        self, topic: str, payload: Mapping[str, Any] | None = None, *, connection: "AsyncConnection | None" = None
    ) -> None:
        """Send to every node, this one too; with ``connection`` after its commit, and not when it is rolled back."""

    def listen(self, topic: str) -> "AbstractAsyncContextManager[AsyncIterator[Mapping[str, Any]]]":
        """Receive, within the block, the payloads of ``topic`` that are sent from now on."""


class App(Protocol):
    """The node as its plugins see it.

    While hooks register, ``serving``, ``mode``, ``node``, ``settings``, ``hooks``, ``clock`` and ``log`` work;
    ``queue``, ``schedules``, ``database``, ``resources``, ``storage``, ``locks`` and ``signals`` raise
    ``AppNotOpenError`` until ``node_lifespan``.
    """

    @property
    def mode(self) -> WorkerMode:
        """Return what this node serves."""

    @property
    def node(self) -> Node:
        """Return who this node is."""

    @property
    def queue(self) -> Queue:
        """Return the door to the durable queue."""

    @property
    def database(self) -> Database:
        """Return the database."""

    @property
    def schedules(self) -> Schedules:
        """Return the door to the schedules."""

    @property
    def resources(self) -> Resources:
        """Return the door to the tables that plugins share."""

    @property
    def storage(self) -> Storage:
        """Return the door to stored files."""

    @property
    def locks(self) -> Locks:
        """Return the locks of the cluster."""

    @property
    def signals(self) -> Signals:
        """Return the door to all nodes."""

    @property
    def hooks(self) -> Hooks:
        """Return the hooks that plugins publish."""

    @property
    def clock(self) -> Clock:
        """Return the clock of this node."""

    @property
    def log(self) -> Log:
        """Return the log of this node."""

    def serving(self, key: str | None = None) -> bool:
        """Tell whether this node serves ``key``, or requests when no key is given.

        False for a key that other images serve (``NOCOHOST_EXTERNAL_KEYS``), for one quarantined here, and for
        everything in a child; raises ``UnknownKeyError`` with a suggestion for a key nobody declares.
        """

    def settings(self, model: type[ModelT]) -> ModelT:
        """Return the frozen settings that a plugin declared as ``model``."""
