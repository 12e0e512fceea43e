"""The blocking twins: what a plain handler calls in its thread, and the event loop carries out meanwhile."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from nocohost.api.app import App, Hooks, Locks, Node, Schedules, Signals
from nocohost.api.blocking import BlockingJob
from nocohost.api.clock import Clock
from nocohost.api.errors import AttemptCancelledError, NestedWriteError
from nocohost.api.job import Claim, Job
from nocohost.api.log import Log
from nocohost.api.mode import WorkerMode
from nocohost.api.resources import Resources
from nocohost.store.blocking import BlockingDatabase, through

if TYPE_CHECKING:
    from pydantic import BaseModel
    from sqlalchemy import Connection

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound="BaseModel")


class Hop:
    """Carries coroutines from the thread of one attempt to the event loop, until the attempt is cancelled."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._pending: set[concurrent.futures.Future[Any]] = set()
        self.is_cancelled = False

    @property
    def call_soon(self) -> Any:
        """Return how the event loop is told something without waiting for it."""
        return self._loop.call_soon_threadsafe

    def cancel(self) -> None:
        """Break off what is waited for, and refuse what comes; any thread may call this."""
        with self._lock:
            self.is_cancelled = True
            pending = list(self._pending)
        for future in pending:
            future.cancel()

    def refuse(self) -> None:
        """Raise ``AttemptCancelledError`` once the attempt is cancelled."""
        if self.is_cancelled:
            raise AttemptCancelledError(hint="end the handler; whatever it returns or raises now is of no account")

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` on the event loop and return what it returns; raises ``AttemptCancelledError``."""
        if asyncio._get_running_loop() is self._loop:
            coroutine.close()
            raise RuntimeError("a blocking twin was called on the event loop, which it would block for ever")
        with self._lock:
            if self.is_cancelled:
                coroutine.close()
                self.refuse()
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            self._pending.add(future)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            self.refuse()
            raise
        finally:
            with self._lock:
                self._pending.discard(future)


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
    def resources(self) -> Resources:
        """Return the door to the tables that plugins share, for ``wait``."""
        return self._app.resources

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

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the event loop and wait for it."""
        return self._hop.wait(coroutine)


def blocking_job(job: Job, database: BlockingDatabase, hop: Hop) -> BlockingJob:
    """Return the twin of ``job``, which must be running here."""
    assert job.claim is not None, "the job of a handler has its claim"
    claim = TwinClaim(job.claim, database, hop)
    return BlockingJob(job.id, job.key, job.payload, job.attempt, job.fence, job.enqueued_at, job.group, claim)
