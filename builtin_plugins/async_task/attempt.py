"""One attempt of a task, in its child: begun, run within its limits, and its success written down.

How it fails is written down by nobody here: the job becomes a dead letter, and whoever looks at the task sees that.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from traceback import format_exception, format_exception_only
from types import TracebackType
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Row, and_, case, delete, select, update

from builtin_plugins.async_task.errors import TaskFailedError
from builtin_plugins.async_task.form import TaskForm
from builtin_plugins.async_task.kind import TaskKind, TaskResult
from builtin_plugins.async_task.kinds import faults_of, task_forms, task_kinds
from builtin_plugins.async_task.limits import TaskTimeoutError, free_frames, lower_memory, time_limit
from builtin_plugins.async_task.settings import TaskSettings
from builtin_plugins.async_task.standstill import is_ours, keep
from builtin_plugins.async_task.tables import row_errors, tasks
from builtin_plugins.async_task.task import CHANGED, BlockingTask, Task, TaskOrder
from nocohost import AttemptCancelledError, BlockingApp, BlockingJob, DeadLetter, FenceLostError, Snooze


def perform(job: BlockingJob, app: BlockingApp, task_id: str) -> DeadLetter | Snooze | dict[str, Any] | None:
    """Run the task, and return what becomes of its job."""
    kinds, forms = task_kinds(app), task_forms(app)
    row = _begin(job, app, task_id, kinds.keys() & forms.keys())
    if row is None:
        waits = keep(job, app, task_id)
        if waits is not None:
            return waits
        app.log.info("task.skipped", task=task_id, hint="it has succeeded already, is gone, or has another job")
        return None
    app.wait(app.signals.send(CHANGED, {"id": task_id}))
    kind = kinds[row.kind]
    if job.attempt > kind.attempts:
        return DeadLetter(_last_error(app, job) or f"{kind.attempts} attempts failed")
    order, reason = _order(app, forms[row.kind], row)
    if order is None:
        return DeadLetter(reason)
    attempt = Attempt(kind, app, is_last=job.attempt >= kind.attempts)
    with attempt:
        _finish(job, app, task_id, attempt.run(order, job))
    if attempt.reason is not None:
        return DeadLetter(attempt.reason)
    app.wait(app.signals.send(CHANGED, {"id": task_id}))
    return {"task": task_id}


class Attempt:
    """Runs a kind within its limits; within the block, what it raises for good becomes ``reason``."""

    def __init__(self, kind: TaskKind, app: BlockingApp, *, is_last: bool) -> None:
        settings = app.settings(TaskSettings)
        self._kind = kind
        self._app = app
        self._is_last = is_last
        self._memory_mib = min(kind.memory_mib or settings.memory_mib, settings.memory_mib)
        self._timeout_seconds = kind.timeout_seconds or settings.timeout_seconds
        self.reason: str | None = None
        """Why the task has failed, if it has and is not to be tried again."""

    def run(self, order: TaskOrder, job: BlockingJob) -> TaskResult:
        """Run the kind and return what came of it."""
        if self._kind.memory_mib is not None:
            lower_memory(self._memory_mib)
        with time_limit(self._timeout_seconds):
            if self._kind.is_async:
                assert job.awaited is not None
                awaited = Task(order, job.awaited, self._app.awaited)
                arguments = (awaited, self._app.awaited) if self._kind.takes_app else (awaited,)
                result = self._app.wait(self._kind.run(*arguments))
            else:
                task = BlockingTask(order, job, self._app)
                result = self._kind.run(task, self._app) if self._kind.takes_app else self._kind.run(task)
        if result is not None and not isinstance(result, TaskResult):
            raise TaskFailedError(f"{self._kind.name} returned a {type(result).__name__}, not None or a TaskResult")
        return result or TaskResult()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if (
            error is None
            or not isinstance(error, Exception)
            or isinstance(error, AttemptCancelledError | FenceLostError)
        ):
            return False  # asked to end, or somebody else's by now: the queue knows what to do
        if isinstance(error, MemoryError):
            free_frames(error)
            text = f"out of memory: the task may use {self._memory_mib} MiB"
        elif isinstance(error, TaskFailedError | TaskTimeoutError):
            text = str(error)  # with what to do about it
        else:
            text = "".join(format_exception_only(error)).strip()
        if not self._is_last and not isinstance(error, TaskFailedError):
            return False
        self.reason = text
        if not isinstance(error, TaskFailedError | TaskTimeoutError):
            self._app.log.error("task.failed", exception="".join(format_exception(error)))
        return True


def _begin(job: BlockingJob, app: BlockingApp, task_id: str, kinds: Collection[str]) -> "Row[Any] | None":
    """Mark the task as running by this attempt, and return it.

    None for one that has succeeded, has another job, or is of none of these kinds.
    """
    now: datetime = app.clock.now()
    startable = and_(is_ours(job, task_id), tasks.c.kind.in_(kinds))
    anew = select(tasks.c.id).where(startable, tasks.c.checkpoint.is_(None))  # it finds its row errors again
    with job.transaction() as connection:
        connection.execute(delete(row_errors).where(row_errors.c.task_id.in_(anew)))
        return connection.execute(
            update(tasks)
            .where(startable)
            .values(
                state="running",
                fence=job.fence,
                attempts=tasks.c.attempts + 1,
                node=app.node.name,
                started_at=now,
                finished_at=None,
                error=None,
                row_errors=case((tasks.c.checkpoint.is_(None), 0), else_=tasks.c.row_errors),
            )
            .returning(tasks)
        ).first()


def _last_error(app: BlockingApp, job: BlockingJob) -> str | None:
    report = app.wait(app.awaited.queue.find([job.id])).get(job.id)
    return None if report is None else report.last_error


def _order(app: BlockingApp, form: TaskForm, row: "Row[Any]") -> tuple[TaskOrder | None, str]:
    try:
        params = form.params.model_validate(row.params)
    except ValidationError as error:
        return None, f"the params do not fit {row.kind} any more: {'; '.join(faults_of(error, 'params'))}"
    return (
        TaskOrder(
            id=row.id,
            kind=row.kind,
            params=params,
            owner=row.owner,
            title=row.title,
            upload=row.upload,
            upload_name=row.upload_name,
            attempt=row.attempts,
            checkpoint=row.checkpoint,
            row_errors=row.row_errors,
            most_row_errors=app.settings(TaskSettings).max_row_errors,
        ),
        "",
    )


def _finish(job: BlockingJob, app: BlockingApp, task_id: str, result: TaskResult) -> None:
    """Write the success down, and keep the file that was made, if this attempt still holds the task."""
    with job.transaction() as connection:
        file: Mapping[str, Any] | None = None
        if result.file is not None:
            kept = app.storage.keep(result.file, connection=connection)
            file = {"id": kept.id, "name": kept.name, "size": kept.size, "media_type": kept.media_type}
        connection.execute(
            update(tasks)
            .where(tasks.c.id == task_id)
            .values(state="succeeded", result=result.value, result_file=file, error=None, finished_at=app.clock.now())
        )
