"""The app that plugins see: narrow doors to what the host has built, closed until the node opens them."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol, TypeVar

from nocohost.api.app import Database, Hooks, Locks, Node, Queue, Schedules, Signals
from nocohost.api.clock import Clock
from nocohost.api.errors import AppNotOpenError, UnknownKeyError
from nocohost.api.keys import nearest
from nocohost.api.log import Log
from nocohost.api.mode import WorkerMode
from nocohost.api.resources import Resources
from nocohost.api.storage import Storage

if TYPE_CHECKING:
    from pydantic import BaseModel

ModelT = TypeVar("ModelT", bound="BaseModel")


class DeclaredSettings(Protocol):
    """Where the settings that plugins declared are found by their model."""

    def settings(self, model: type[ModelT]) -> ModelT:
        """Return the frozen instance of ``model``."""


class NodeApp:
    """The ``App`` of one node; see ``nocohost.api.app.App`` for what each part promises."""

    def __init__(
        self,
        *,
        mode: WorkerMode,
        node: Node,
        clock: Clock,
        log: Log,
        declared: DeclaredSettings,
        keys: Collection[str],
        external_keys: Collection[str] = (),
    ) -> None:
        self.mode = mode
        self.node = node
        self.clock = clock
        self.log = log
        self._declared = declared
        self._keys = frozenset(keys)
        self._external = frozenset(external_keys) - self._keys
        self._served = frozenset(key for key in self._keys if mode.covers(key))
        self._hooks: Hooks | None = None
        self._queue: Queue | None = None
        self._database: Database | None = None
        self._schedules: Schedules | None = None
        self._resources: Resources | None = None
        self._storage: Storage | None = None
        self._locks: Locks | None = None
        self._signals: Signals | None = None

    def serving(self, key: str | None = None) -> bool:
        """Tell whether this node serves ``key``, or requests when no key is given."""
        if key is None:
            return self.mode.serves_requests
        if key in self._served:
            return True
        if key in self._keys or key in self._external:
            return False
        suggestion = nearest(key, self._keys | self._external)
        raise UnknownKeyError(
            f"no installed plugin declares the service key {key!r}",
            hint=f"did you mean {suggestion!r}?" if suggestion else "see: nocohost plugins list",
        )

    def settings(self, model: type[ModelT]) -> ModelT:
        """Return the frozen settings that a plugin declared as ``model``."""
        return self._declared.settings(model)

    @property
    def hooks(self) -> Hooks:
        """Return the hooks that plugins publish."""
        return _opened(self._hooks, "hooks")

    @property
    def queue(self) -> Queue:
        """Return the door to the durable queue."""
        return _opened(self._queue, "queue")

    @property
    def database(self) -> Database:
        """Return the database."""
        return _opened(self._database, "database")

    @property
    def schedules(self) -> Schedules:
        """Return the door to the schedules."""
        return _opened(self._schedules, "schedules")

    @property
    def resources(self) -> Resources:
        """Return the door to the tables that plugins share."""
        return _opened(self._resources, "resources")

    @property
    def storage(self) -> Storage:
        """Return the door to stored files."""
        return _opened(self._storage, "storage")

    @property
    def locks(self) -> Locks:
        """Return the locks of the cluster."""
        return _opened(self._locks, "locks")

    @property
    def signals(self) -> Signals:
        """Return the door to all nodes."""
        return _opened(self._signals, "signals")

    def offer(self, hooks: Hooks) -> None:
        """Offer the published hooks, which plugins may call while they register."""
        self._hooks = hooks

    def settle(self, served: Collection[str]) -> None:
        """Take over the keys that are really served here."""
        self._served = frozenset(served)

    def open(
        self,
        database: Database,
        queue: Queue,
        *,
        locks: Locks | None = None,
        signals: Signals | None = None,
        schedules: Schedules | None = None,
        resources: Resources | None = None,
        storage: Storage | None = None,
    ) -> None:
        """Open the doors to the database, the queue and what stands on them; from here on the app is whole."""
        self._database = database
        self._queue = queue
        self._locks = locks
        self._signals = signals
        self._schedules = schedules
        self._resources = resources
        self._storage = storage


OpenT = TypeVar("OpenT")


def _opened(part: OpenT | None, name: str) -> OpenT:
    if part is None:
        raise AppNotOpenError(
            f"app.{name} is not open while hooks register", hint="use it in node_lifespan, a handler or a route"
        )
    return part
