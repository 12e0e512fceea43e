"""``job``: enqueues a job in the transaction that records the step, and waits for its value."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from builtin_plugins.workflow.records import ExecutionRow
from builtin_plugins.workflow.starting import drop_job
from builtin_plugins.workflow.step_row import Place, StepRow
from builtin_plugins.workflow.steps.contract import Answer, Beginning, Waiting, timed_out
from nocohost import App, JobReport, JobState

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


class QueueJob:
    """Waits for the end of a job under any declared key."""

    async def begin(self, beginning: Beginning) -> Any:
        """Enqueue the job; its value is waited for unless ``wait`` is false, when it is its id."""
        params = beginning.call.params
        job = await beginning.app.queue.enqueue(
            params.job, dict(params.payload), connection=beginning.connection, priority=params.priority
        )
        return Waiting(reference=job.id) if params.wait else {"job": job.id}

    async def look(
        self, app: App, connection: "AsyncConnection", execution: ExecutionRow, rows: Sequence[StepRow]
    ) -> Mapping[Place, Answer]:
        """Return the values of the jobs that have ended."""
        ids = [row.reference for row in rows if row.reference is not None]
        reports = await app.queue.find(ids, connection=connection)
        answers = {row.place: _answer(reports.get(row.reference or "")) for row in rows}
        return {place: answer for place, answer in answers.items() if answer is not None}

    def expired(self, row: StepRow) -> Answer:
        """Fail: the job has not ended in time."""
        return timed_out(row)

    async def stop(self, app: App, connection: "AsyncConnection", row: StepRow) -> None:
        """Cancel the job."""
        if row.reference is not None:
            await drop_job(app, connection, row.reference)


def _answer(report: JobReport | None) -> Answer | None:
    if report is None:
        return Answer(error=("workflow.job", "its job was dropped, or is over and past its retention"))
    if report.state is JobState.SUCCEEDED:
        return Answer(report.value)
    if report.state is JobState.DEAD:
        return Answer(error=("workflow.job", report.last_error or "its job became a dead letter"))
    if report.state is JobState.CANCELLED:
        return Answer(error=("workflow.job", "its job was cancelled"))
    return None
