"""What the steps that come with workflows are made of: those that begin in a transaction, and may wait after it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from builtin_plugins.workflow.records import ExecutionRow
from builtin_plugins.workflow.step_row import Place, StepRow
from builtin_plugins.workflow.step_type import StepCall
from nocohost import App

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step goes on waiting, at no cost: until ``wake_at``, or until what ``reference`` names has ended."""

    reference: str | None = None
    wake_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a step has waited for has come: its value, or its error."""

    value: Any = None
    error: tuple[str, str] | None = None
    """Code and message."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """A step that begins, within the transaction that records it."""

    app: App
    connection: "AsyncConnection"
    execution: ExecutionRow
    call: StepCall
    now: datetime


class TransactionStep(Protocol):
    """A step whose effect is part of the transaction that records it: it happens once, or not at all."""

    async def begin(self, beginning: Beginning) -> Any:
        """Return the value of the step, or ``Waiting``; what it raises fails the step, and is undone."""


class WaitingStep(TransactionStep, Protocol):
    """A step that waits after it has begun."""

    async def look(
        self, app: App, connection: "AsyncConnection", execution: ExecutionRow, rows: Sequence[StepRow]
    ) -> Mapping[Place, Answer]:
        """Return what has come of the steps in ``rows``, which all wait; those that go on waiting are left out."""

    def expired(self, row: StepRow) -> Answer:
        """Return what comes of a step whose ``wake_at`` has passed."""

    async def stop(self, app: App, connection: "AsyncConnection", row: StepRow) -> None:
        """Stop what the step waits for: nobody does any more."""


def timed_out(row: StepRow) -> Answer:
    """Return the answer of a step that has waited for as long as it may."""
    return Answer(error=("workflow.timeout", f"{row.key} has waited for longer than its timeout_seconds"))
