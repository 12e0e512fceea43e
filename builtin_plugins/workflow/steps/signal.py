"""``signal``: waits for one that somebody sends to the execution; one that came before is taken at once."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from builtin_plugins.workflow.records import ExecutionRow, signals_of, take_signal
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
        sent = await signals_of(beginning.connection, execution, [name])
        if sent:
            return await take_signal(beginning.connection, execution, *sent[0])
        return Waiting(reference=name)

    async def look(
        self, app: App, connection: "AsyncConnection", execution: ExecutionRow, rows: Sequence[StepRow]
    ) -> Mapping[Place, Answer]:
        """Return the values of the signals that have come, and take them."""
        found: dict[Place, Answer] = {}
        waiting: dict[str, list[StepRow]] = {}
        for row in rows:
            waiting.setdefault(row.reference or "", []).append(row)
        for name, number in await signals_of(connection, execution.id, waiting):
            if waiting[name]:
                value = await take_signal(connection, execution.id, name, number)
                found[waiting[name].pop(0).place] = Answer(value)
        return found

    def expired(self, row: StepRow) -> Answer:
        """Fail: no signal came in time."""
        return timed_out(row)

    async def stop(self, app: App, connection: "AsyncConnection", row: StepRow) -> None:
        """Stop nothing."""
