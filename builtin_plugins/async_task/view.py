"""A task as people see it, and as the contract has it in JSON."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from builtin_plugins.async_task.form import TaskForm
from builtin_plugins.async_task.records import TaskRow
from builtin_plugins.async_task.standing import Standing


class ProgressView(BaseModel):
    """How far a task is."""

    done: float
    total: float | None = Field(description="null where nobody knows")
    unit: str
    rate: float | None = Field(description="units a second, of the last ten seconds")
    seconds_left: float | None


class FileView(BaseModel):
    """The file that a task has made."""

    name: str
    size: int
    media_type: str


class ResultView(BaseModel):
    """What came of a task."""

    file: FileView | None
    value: Any


class TaskWarningView(BaseModel):
    """Something that keeps a task waiting."""

    code: str
    message: str


class TaskView(BaseModel):
    """One task."""

    id: str
    kind: str
    title: str
    owner: str = Field(description="id of the principal who started it")
    state: Literal["pending", "running", "succeeded", "failed", "cancelled"]
    progress: ProgressView | None
    result: ResultView | None
    error: str | None
    row_errors: int = Field(description="rows that were not taken; /errors tells them")
    node: str | None = Field(description="name of the node that runs or last ran it")
    cancelable: bool
    cancel_requested: bool = Field(description="somebody asked to cancel it, and it has not ended yet")
    attempts: int = Field(description="attempts that have begun")
    job: str = Field(description="id of its job")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    warnings: list[TaskWarningView] = Field(description="what keeps it waiting, such as key.unserved")


class TaskPageView(BaseModel):
    """Some tasks, newest first."""

    items: list[TaskView]
    next: str | None = Field(description="give it as after; null on the last page")


class KindView(BaseModel):
    """A kind of task that can be started here."""

    kind: str
    title: str
    description: str
    needs_file: bool
    permission: str = Field(description="what whoever starts one must be allowed; some params ask for more")
    params: dict[str, Any] = Field(description="JSON Schema of the params")


class KindPageView(BaseModel):
    """Every kind of task."""

    items: list[KindView]
    next: str | None


def task_json(standing: Standing) -> dict[str, Any]:
    """Return the task as the contract's JSON object."""
    row = standing.row
    is_over = not row.is_open
    return {
        "id": row.id,
        "kind": row.kind,
        "title": row.title,
        "owner": row.owner,
        "state": standing.state,
        "progress": row.progress,
        "result": _result(row) if row.state == "succeeded" else None,
        "error": row.error if is_over else None,
        "row_errors": row.row_errors,
        "node": row.node,
        "cancelable": not is_over and not standing.cancel_requested,
        "cancel_requested": standing.cancel_requested,
        "attempts": row.attempts,
        "job": row.job_id,
        "created_at": _instant(row.created_at),
        "started_at": _instant(row.started_at),
        "finished_at": _instant(row.finished_at),
        "warnings": [dict(warning) for warning in standing.warnings],
    }


def kind_json(form: TaskForm) -> dict[str, Any]:
    """Return a kind as people choose from."""
    return {
        "kind": form.kind,
        "title": form.title,
        "description": form.description,
        "needs_file": form.needs_file,
        "permission": form.permission,
        "params": form.params.model_json_schema(),
    }


def _result(row: TaskRow) -> dict[str, Any]:
    file = row.result_file
    shown = None if file is None else {name: file[name] for name in FileView.model_fields}
    return {"file": shown, "value": row.result}


def _instant(instant: datetime | None) -> str | None:
    if instant is None:
        return None
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
