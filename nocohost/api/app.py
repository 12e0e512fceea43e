"""What plugin code sees of the node it runs on, as narrow Protocols. The host supplies them."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from nocohost.api.clock import Clock
from nocohost.api.job import Job
from nocohost.api.log import Log
from nocohost.api.mode import WorkerMode

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
    ) -> Job:
        """Make one job under ``key`` and return it.

        With ``connection`` the job is part of the caller's transaction: both commit or neither. ``payload`` is checked
        against the job type here, on whichever node this is. The same ``idempotency_key`` with the same payload
        returns the first job; with another payload it raises ``JobConflictError``. ``run_at`` in the past means now.
        ``priority`` is the job type's when None; lower runs first.

        Raises ``UnknownKeyError``, ``PayloadError``, ``PayloadTooLargeError``, ``JobConflictError``, ``StoreError``.
        """


class Hooks(Protocol):
    """The hooks that plugins publish, as far as they are active on this node."""

    def call(self, name: str, /, **arguments: Any) -> Sequence[tuple[str, Any]]:
        """Call every active implementation of the published hook ``name``; return (plugin, result) pairs.

        An implementation that raises is logged and left out. An unpublished name raises ``PluginContractError``.
        """


class App(Protocol):
    """The node as its plugins see it.

    While hooks register, ``serving``, ``mode``, ``node``, ``settings``, ``hooks``, ``clock`` and ``log`` work;
    ``queue`` and ``database`` raise ``AppNotOpenError`` until ``node_lifespan``.
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
