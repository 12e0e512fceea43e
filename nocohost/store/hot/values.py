"""What the hot statements take and give, and the one set of promises that both databases keep."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

LOWEST_FLOOR = -(2**31)
ANY_PLACES = 2**31 - 1


class Want(NamedTuple):
    """How many jobs of a key a node would take; those with a priority below ``floor`` are passed over this time.

    All jobs of an ``isolated`` key run in children, so that those which must run apart are as all others there.
    """

    key: str
    slots: int
    floor: int = LOWEST_FLOOR
    isolated: bool = False


class ClaimedJob(NamedTuple):
    """A job as the node that has just claimed it gets it; ``claim_id`` is its right to write."""

    id: str
    key: str
    payload: Any
    priority: int
    group: str | None
    due: float
    """``run_at`` in seconds since 1970, to order by."""
    wait_seconds: float
    """From due to claimed, by the database's clock."""
    enqueued_at: datetime
    attempts: int
    losses: int
    crashes: int
    fence: int
    claim_id: str

    @property
    def must_run_apart(self) -> bool:
        """Tell whether this attempt must run in a child: lost with two nodes, or a child has died of the job."""
        return self.losses > 1 or self.crashes > 0


class OldestLevel(NamedTuple):
    """The priority whose first due job has waited longest, of those that were looked at; None where none is due."""

    priority: int | None
    last: int | None
    """The last priority that was looked at, where there may be others beyond it."""


class NewJob(NamedTuple):
    """A job to be; ``payload`` is JSON text. ``run_at`` None or in the past means now.

    ``digest`` is that of the canonical payload; only a job with an idempotency key needs one.
    """

    id: str
    key: str
    payload: str
    priority: int
    run_at: datetime | None
    group: str | None
    idempotency_key: str | None
    unique_seconds: float
    digest: bytes


class Settlement(NamedTuple):
    """What an attempt wants written: its job ends in ``state``, or goes back to ``pending``, due after the delay.

    Nothing is written when the claim has moved. A job that goes back although cancelling was asked for ends as
    cancelled. ``value`` is JSON text; ``error`` None keeps what is there; ``charge`` counts an attempt, ``crash`` a
    child that died of the job.
    """

    job_id: str
    claim_id: str
    state: str
    value: str | None = None
    error: str | None = None
    charge: bool = False
    crash: bool = False
    delay_seconds: float = 0.0


class HotStore(Protocol):
    """Each call is one transaction, committed when it returns. All raise ``StoreError``."""

    async def insert(self, news: Sequence[NewJob]) -> Sequence[datetime]:
        """Write new jobs, their idempotency keys unasked, all or none; return when each was enqueued."""

    async def claim(
        self, node_id: str, claim_id: str, wants: Sequence[Want], places: int = ANY_PLACES
    ) -> list[ClaimedJob]:
        """Take due jobs for a node, in the order of priority, ``run_at`` and id; of a group only the first.

        Of jobs that must run apart at most ``places`` are taken, over all keys but the isolated ones; the others are
        left to nodes that can start them. Nothing is taken for a node that is not serving or whose lease has ended, and
        nothing of a paused key. Raises ``StoreConflictError`` when two nodes met at one group; the next call sees
        clearly.
        """

    async def oldest_levels(self, wants: Sequence[Want]) -> dict[str, OldestLevel]:
        """Return, for each wanted key, the priority whose first due job has waited longest.

        Looks at a hundred priorities, from the floor of the want on, and at the first job of each group. Jobs that must
        run apart are left out, unless their key is isolated: they do not wait for slots alone.
        """

    async def settle(self, settlements: Sequence[Settlement]) -> set[str]:
        """Write what became of attempts; return the ids of the jobs written, the others' claims have moved."""

    async def close(self) -> None:
        """Close the connections; a later call opens others."""
