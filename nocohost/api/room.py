"""Where a handler runs when it does not run on the node's event loop: the seam between the queue and such places."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from nocohost.api.job import Job
from nocohost.api.service import Service


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """What must be known of a claimed job to run its attempt in another process. Plain values, as JSON has them."""

    id: str
    key: str
    payload: Any
    """The JSON value as it is stored; the model is made of it where the handler runs."""
    attempt: int
    """1 + the attempts charged."""
    attempts: int
    """How often the job may fail."""
    fence: int
    claim_id: str
    """The right to write under this claim: whoever has it is this attempt."""
    node_id: str
    enqueued_at: datetime
    group: str | None = None
    timeout_seconds: float | None = None
    crashes: int = 0
    """How many children have died of the job."""


class Room(Protocol):
    """A place that runs handlers, one call for each attempt."""

    @property
    def places(self) -> int:
        """Return how many handlers at a time may be here for their job's sake, not their service's."""

    async def run(self, service: Service, job: Job, order: WorkOrder) -> Any:
        """Run the handler there and return what it returned; ``job`` and ``order`` are the same attempt.

        Raises ``HandlerRaisedError`` with the text of what the handler raised, and ``ChildCrashedError`` when its
        process died under it. Cancelling the task that awaits this cancels the handler: it is asked, and after a grace
        made to stop, so this ends in bounded time whatever the handler does; cancelled a second time, at once. A
        handler that returns although it was asked to stop has returned: its value comes back as ever.
        """
