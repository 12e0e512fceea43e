"""``delay`` and ``wait_until``: the row says until when, and a job of the queue goes on then."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from builtin_plugins.workflow.errors import StepFailedError
from builtin_plugins.workflow.records import ExecutionRow
from builtin_plugins.workflow.step_row import Place, StepRow
from builtin_plugins.workflow.steps.contract import Answer, Beginning, Waiting
from nocohost import App

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


class Timer:
    """Waits for an instant."""

    async def begin(self, beginning: Beginning) -> Any:
        """Return until when to wait, or that instant if it has passed."""
        params = beginning.call.params
        at = (
            beginning.now + timedelta(seconds=max(params.seconds, 0))
            if beginning.call.type == "delay"
            else read_instant(params.at)
        )
        return text(at) if at <= beginning.now else Waiting(wake_at=at)

    async def look(
        self, app: App, connection: "AsyncConnection", execution: ExecutionRow, rows: Sequence[StepRow]
    ) -> Mapping[Place, Answer]:
        """Return nothing: only time ends these."""
        return {}

    def expired(self, row: StepRow) -> Answer:
        """Return the instant that was waited for."""
        return Answer(None if row.wake_at is None else text(row.wake_at))

    async def stop(self, app: App, connection: "AsyncConnection", row: StepRow) -> None:
        """Stop nothing: the job that would go on finds that nobody waits."""


def read_instant(written: str) -> datetime:
    """Return an instant written as RFC 3339 has it; raises ``StepFailedError``."""
    try:
        instant = datetime.fromisoformat(written)
    except ValueError as error:
        raise StepFailedError(f"{written[:100]!r} is no instant: {error}", retryable=False) from error
    if instant.tzinfo is None:
        raise StepFailedError(f"{written[:100]!r} has no time zone", hint="end it with Z", retryable=False)
    try:
        instant.astimezone(UTC)
    except OverflowError as error:
        raise StepFailedError(f"{written[:100]!r} is no instant: beyond the calendar", retryable=False) from error
    return instant


def text(instant: datetime) -> str:
    """Return an instant as JSON has it."""
    return instant.isoformat().replace("+00:00", "Z")
