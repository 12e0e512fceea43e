"""``workflow``: starts another workflow in the transaction that records the step, and waits for its output."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from builtin_plugins.workflow.errors import StepFailedError
from builtin_plugins.workflow.records import ExecutionRow, find_executions
from builtin_plugins.workflow.settings import WorkflowSettings
from builtin_plugins.workflow.starting import NewExecution, insert_execution, request_cancel
from builtin_plugins.workflow.step_row import Place, StepRow
from builtin_plugins.workflow.steps.contract import Answer, Beginning, Waiting, timed_out
from builtin_plugins.workflow.versions import enabled_version
from nocohost import App

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

STARTABLE = ("api", "workflow")


class SubWorkflow:
    """Waits for the end of an execution that it has started."""

    async def begin(self, beginning: Beginning) -> Any:
        """Start the enabled version; its id is the value of the step where ``wait`` is false."""
        params, parent, call = beginning.call.params, beginning.execution, beginning.call
        most = beginning.app.settings(WorkflowSettings).max_depth
        if parent.depth + 1 > most:
            raise StepFailedError(
                f"limit: max_depth: workflows start workflows at most {most} deep",
                code="workflow.limit",
                retryable=False,
            )
        number, triggered_by = await enabled_version(beginning.connection, params.workflow)
        if triggered_by not in STARTABLE:
            raise StepFailedError(
                f"{params.workflow} is started by {triggered_by}",
                hint="only workflows with an api or workflow trigger are started by others",
                retryable=False,
            )
        new = NewExecution(
            params.workflow,
            number,
            {"type": "workflow", "input": params.input, "parent": parent.id},
            parent.created_by,
            parent,
            call.path if params.wait else None,
            call.iteration if params.wait else None,
        )
        row = await insert_execution(beginning.app, beginning.connection, new)
        return Waiting(reference=row.id) if params.wait else {"execution": row.id}

    async def look(
        self, app: App, connection: "AsyncConnection", execution: ExecutionRow, rows: Sequence[StepRow]
    ) -> Mapping[Place, Answer]:
        """Return the outputs of the executions that have ended."""
        children = await find_executions(connection, [row.reference for row in rows if row.reference is not None])
        found: dict[Place, Answer] = {}
        for row in rows:
            child = children.get(row.reference or "")
            if child is None:
                found[row.place] = Answer(error=("workflow.child", "its execution is past its retention"))
            elif child.state == "succeeded":
                found[row.place] = Answer(child.output)
            elif not child.is_open:
                found[row.place] = Answer(error=("workflow.child", child.reason or f"its execution {child.state}"))
        return found

    def expired(self, row: StepRow) -> Answer:
        """Fail: the execution has not ended in time."""
        return timed_out(row)

    async def stop(self, app: App, connection: "AsyncConnection", row: StepRow) -> None:
        """Cancel the execution."""
        if row.reference is not None:
            await request_cancel(app, connection, row.reference, "its parent no longer waits for it")
