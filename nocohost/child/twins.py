"""The blocking twins: what a plain handler calls in its thread, and the event loop carries out meanwhile."""

from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from nocohost.api.app import App, Hooks, Locks, Node, Schedules, Signals
from nocohost.api.blocking import BlockingJob
from nocohost.api.clock import Clock
from nocohost.api.errors import NestedWriteError
from nocohost.api.job import Claim, Job
from nocohost.api.log import Log
from nocohost.api.mode import WorkerMode
from nocohost.child.hop import Hop
from nocohost.child.twin_resources import TwinResources
from nocohost.child.twin_storage import TwinStorage
from nocohost.store.blocking import BlockingDatabase, through

if TYPE_CHECKING:
    from pydantic import BaseModel
    from sqlalchemy import Connection

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound="BaseModel")


class TwinClaim:
    """Implements ``nocohost.api.blocking.BlockingClaim`` over the claim of the attempt."""

    def __init__(self, claim: Claim, database: BlockingDatabase, hop: Hop) -> None:
        self._claim = claim
        self._database = database
        self._hop = hop
        self._open: Connection | None = None

    @property
    def cancel_requested(self) -> bool:
        """Tell whether the attempt has been cancelled."""
        return self._hop.is_cancelled or self._claim.cancel_requested

    def progress(self, done: int, total: int | None, unit: str) -> None:
        """Store how far the attempt is; inside a transaction on SQLite it shows when that commits."""
        self._hop.refuse()
        if self._open is not None and self._database.in_write_transaction:
            through(
                self._open,
                lambda joined: self._claim.progress(done, total, unit, connection=joined),
                call_soon=self._hop.call_soon,
            )
        else:
            self._hop.wait(self._claim.progress(done, total, unit))

    @contextmanager
    def transaction(self) -> "Iterator[Connection]":
        """Open a transaction that commits only while the claim holds; raises ``FenceLostError`` instead."""
        self._hop.refuse()
        with self._database.begin() as connection:
            self._open = connection
            try:
                yield connection
            finally:
                self._open = None
            self._hop.refuse()
            # Last thing before the commit: the row stays locked from here on, so nothing can come between.
            through(connection, self._claim.verify, call_soon=self._hop.call_soon)


class TwinQueue:
    """Implements ``nocohost.api.blocking.BlockingQueue``."""

    def __init__(self, app: App, database: BlockingDatabase, hop: Hop) -> None:
        self._queue = app.queue
        self._database = database
        self._hop = hop

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
        """Make one job under ``key`` and return it."""
        options: dict[str, Any] = {"run_at": run_at, "priority": priority, "group": group}
        options["idempotency_key"] = idempotency_key
        if connection is not None:
            return through(
                connection,
                lambda joined: self._queue.enqueue(key, payload, connection=joined, **options),
                call_soon=self._hop.call_soon,
            )
        self._refuse_nested(key)
        return self._hop.wait(self._queue.enqueue(key, payload, **options))

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
        """Make one job for each payload, all or none."""
        options: dict[str, Any] = {"run_at": run_at, "priority": priority, "group": group}
        every = list(payloads)  # made in this thread: the handler's code may block
        if connection is not None:
            return through(
                connection,
                lambda joined: self._queue.enqueue_many(key, every, connection=joined, **options),
                call_soon=self._hop.call_soon,
            )
        self._refuse_nested(key)
        return self._hop.wait(self._queue.enqueue_many(key, every, **options))

    def _refuse_nested(self, key: str) -> None:
        self._hop.refuse()
        if self._database.in_write_transaction:
            raise NestedWriteError(
                f"enqueue of {key} inside a transaction would wait for itself",
                hint="pass the transaction along: enqueue(..., connection=connection)",
            )


class TwinApp:
    """Implements ``nocohost.api.blocking.BlockingApp`` over the app of this process."""

    def __init__(self, app: App, database: BlockingDatabase, hop: Hop) -> None:
        self._app = app
        self._hop = hop
        self.database = database
        self.queue = TwinQueue(app, database, hop)
        self._resources: TwinResources | None = None
        self._storage: TwinStorage | None = None

    @property
    def mode(self) -> WorkerMode:
        """Return what this process serves."""
        return self._app.mode

    @property
    def node(self) -> Node:
        """Return who this node is."""
        return self._app.node

    @property
    def schedules(self) -> Schedules:
        """Return the door to the schedules, for ``wait``."""
        return self._app.schedules

    @property
    def resources(self) -> TwinResources:
        """Return the door to the tables that plugins share."""
        if self._resources is None:
            self._resources = TwinResources(self._app.resources, self.database, self._hop)
        return self._resources

    @property
    def storage(self) -> TwinStorage:
        """Return the door to stored files."""
        if self._storage is None:
            self._storage = TwinStorage(self._app.storage, self.database, self._hop)
        return self._storage

    @property
    def locks(self) -> Locks:
        """Return the locks of the cluster, for ``wait``."""
        return self._app.locks

    @property
    def signals(self) -> Signals:
        """Return the door to all nodes, for ``wait``."""
        return self._app.signals

    @property
    def hooks(self) -> Hooks:
        """Return the hooks that plugins publish."""
        return self._app.hooks

    @property
    def clock(self) -> Clock:
        """Return the clock of this process."""
        return self._app.clock

    @property
    def log(self) -> Log:
        """Return the log of this node."""
        return self._app.log

    def serving(self, key: str | None = None) -> bool:
        """Tell whether this process serves ``key``, or requests when no key is given."""
        return self._app.serving(key)

    def settings(self, model: type[ModelT]) -> ModelT:
        """Return the frozen settings that a plugin declared as ``model``."""
        return self._app.settings(model)

    @property
    def awaited(self) -> App:
        """Return the app as coroutines see it."""
        return self._app

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the event loop and wait for it."""
        return self._hop.wait(coroutine)


def blocking_job(job: Job, database: BlockingDatabase, hop: Hop) -> BlockingJob:
    """Return the twin of ``job``, which must be running here."""
    assert job.claim is not None, "the job of a handler has its claim"
    claim = TwinClaim(job.claim, database, hop)
    return BlockingJob(job.id, job.key, job.payload, job.attempt, job.fence, job.enqueued_at, job.group, claim, job)
