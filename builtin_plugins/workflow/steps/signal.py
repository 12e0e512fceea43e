"""``signal``: waits for one that somebody sends to the execution; one that came before is taken at once."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from builtin_plugins.workflow.records import ExecutionRow, load_signals, take_signal
from builtin_plugins.workflow.step_row import Place, StepRow
from builtin_plugins.workflow.steps.contract import Answer, Beginning, Waiting, timed_out
from nocohost import App

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


class Signal:
    """Waits for a signal of its name; each is taken by one step, in the order in which they were sent."""

    async def begin(self, beginning: Beginning) -> Any:
        """Return the value of a signal that is there already, or wait."""
        execution, name = beginning.execution.id, beginning.call.params.name
        for sent, number, value in await load_signals(beginning.connection, execution):
            if sent == name:
                await take_signal(beginning.connection, execution, name, number)
                return value
        return Waiting(reference=name)

    async def look(
        self, app: App, connection: "AsyncConnection", execution: ExecutionRow, rows: Sequence[StepRow]
    ) -> Mapping[Place, Answer]:
        """Return the values of the signals that have come, and take them."""
        found: dict[Place, Answer] = {}
        waiting = list(rows)
        for name, number, value in await load_signals(connection, execution.id):
            row = next((one for one in waiting if one.reference == name), None)
            if row is not None:
                waiting.remove(row)
                await take_signal(connection, execution.id, name, number)
                found[row.place] = Answer(value)
        return found

    def expired(self, row: StepRow) -> Answer:
        """Fail: no signal came in time."""
        return timed_out(row)

    async def stop(self, app: App, connection: "AsyncConnection", row: StepRow) -> None:
        """Stop nothing."""
