"""Jobs: one durable row of work under a service key, and the outcomes a handler may return."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from nocohost.api.errors import FenceLostError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


class JobState(StrEnum):
    """Where a job stands.

    ``pending -> running -> succeeded``; a failed attempt goes back to ``pending`` with a later ``run_at`` until its
    attempts are used up, then to ``dead``; ``cancelled`` ends a pending or running job on request. A scheduled job is
    ``pending`` with a ``run_at`` to come.
    """

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Retry:
    """Outcome: the attempt failed; run again after ``delay_seconds``, or after the service's backoff when None."""

    delay_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Snooze:
    """Outcome: not now; come back after ``delay_seconds``. Charges no attempt."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Outcome: this job can never succeed; keep it for a person, with ``reason``."""

    reason: str


@dataclass(frozen=True, slots=True)
class JobReport:
    """Where one job stands, as ``app.queue.find`` saw it."""

    id: str
    key: str
    state: JobState
    attempts: int
    """How many were charged."""
    node: str | None
    """Boot id of the node that holds or last held it."""
    orphan: bool
    """Running by its state, but its node is gone; another node frees it."""
    cancel_requested: bool
    """Somebody asked to cancel it, and its handler has not ended yet."""
    last_error: str | None
    value: Any
    """What its handler returned."""
    started_at: datetime | None
    finished_at: datetime | None
    warnings: Sequence[Mapping[str, str]] = field(default=(), compare=False)
    """What keeps a pending job waiting, each with ``code`` and ``message``: ``key.unserved``."""


class Claim(Protocol):
    """What lets a running attempt write: lost when the job has moved on to another attempt."""

    async def progress(
        self, done: int, total: int | None, unit: str, *, connection: "AsyncConnection | None" = None
    ) -> None:
        """Store how far the attempt is, through ``connection`` if one is given."""

    async def verify(self, connection: "AsyncConnection") -> None:
        """Make sure that the claim holds until the transaction of ``connection`` ends; raises ``FenceLostError``."""

    def transaction(self) -> "AbstractAsyncContextManager[AsyncConnection]":
        """Open a transaction whose commit is refused once the claim is lost."""

    @property
    def cancel_requested(self) -> bool:
        """Tell whether somebody asked to cancel the job, as far as this process knows."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job, as its handler and whoever enqueued it see it."""

    id: str
    key: str
    payload: Any
    """The model that the job type names, or a dict."""
    attempt: int = 1
    """1 + the attempts charged: failure, timeout and ``Retry`` charge; snooze, release and a lost node do not."""
    fence: int = 0
    """Rises at every claim; show it to outside systems so that they can refuse a frozen and revived node."""
    enqueued_at: datetime | None = None
    group: str | None = None
    claim: Claim | None = field(default=None, repr=False, compare=False)
    warnings: Sequence[Mapping[str, str]] = field(default=(), repr=False, compare=False)
    """What whoever enqueued the job should know, each with ``code`` and ``message``: ``key.unserved``."""

    @property
    def cancel_requested(self) -> bool:
        """Tell whether somebody asked to cancel this job while it runs."""
        return self.claim is not None and self.claim.cancel_requested

    async def progress(self, done: int, total: int | None = None, unit: str = "") -> None:
        """Store how far this attempt is; raises ``FenceLostError`` when it no longer holds the job."""
        await self._held().progress(done, total, unit)

    def transaction(self) -> "AbstractAsyncContextManager[AsyncConnection]":
        """Open a database transaction that commits only while this attempt holds the job.

        Leaving the block commits; ``FenceLostError`` is raised instead, and everything rolled back, when the job has
        moved on to another attempt in the meantime.
        """
        return self._held().transaction()

    def _held(self) -> Claim:
        if self.claim is None:
            raise FenceLostError(f"job {self.id} is not running here", hint="only its handler may do this")
        return self.claim
