"""``task``: starts a task of the execution's creator, and waits for its result."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from builtin_plugins.async_task import NewTask, TaskDesk, TaskNotFoundError
from builtin_plugins.workflow.records import ExecutionRow
from builtin_plugins.workflow.step_row import Place, StepRow
from builtin_plugins.workflow.steps.contract import Answer, Beginning, Waiting, timed_out
from nocohost import App, JobConflictError, JobNotFoundError, Principal

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

OPERATOR = Principal("workflow", frozenset({"task.operate"}))


class TaskStep:
    """Waits for the end of a task."""

    async def begin(self, beginning: Beginning) -> Any:
        """Start the task in the transaction that records the step."""
        params = beginning.call.params
        new = NewTask(params.kind, dict(params.params), params.task_title)
        owner = beginning.execution.created_by
        return Waiting(reference=await TaskDesk(beginning.app).start_within(beginning.connection, new, owner))

    async def look(
        self, app: App, connection: "AsyncConnection", execution: ExecutionRow, rows: Sequence[StepRow]
    ) -> Mapping[Place, Answer]:
        """Return the results of the tasks that are over."""
        found: dict[Place, Answer] = {}
        for row in rows:
            answer = await _look(app, row.reference or "")
            if answer is not None:
                found[row.place] = answer
        return found

    def expired(self, row: StepRow) -> Answer:
        """Fail: the task was not over in time."""
        return timed_out(row)

    async def stop(self, app: App, connection: "AsyncConnection", row: StepRow) -> None:
        """Cancel the task, unless it is over already."""
        try:
            await TaskDesk(app).cancel_within(connection, row.reference or "")
        except (JobNotFoundError, JobConflictError):  # its own, and those of its job
            return


async def _look(app: App, task_id: str) -> Answer | None:
    try:
        standing = await TaskDesk(app).find(task_id, OPERATOR)
    except TaskNotFoundError:
        return Answer(error=("workflow.task", "its task is past its retention"))
    row = standing.row
    if row.is_open:
        return None
    if row.state == "succeeded":
        return Answer({"task": row.id, "file": row.result_file, "value": row.result})
    return Answer(error=("workflow.task", row.error or f"its task was {row.state}"))
