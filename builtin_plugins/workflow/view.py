"""Workflows and executions as people see them, and as the contract has them in JSON."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from builtin_plugins.workflow.execution_desk import Shown
from builtin_plugins.workflow.form import StepForm
from builtin_plugins.workflow.records import ExecutionRow
from builtin_plugins.workflow.step_row import StepRow
from builtin_plugins.workflow.versions import VersionRow, WorkflowRow
from builtin_plugins.workflow.workflow_desk import Stored


class StepErrorView(BaseModel):
    """Why a step failed, or is to be tried again."""

    code: str
    message: str


class StepView(BaseModel):
    """One step of an execution, in one round of the loops around it."""

    path: str = Field(description="keys and blocks that lead to it, such as lines/do/notify")
    key: str
    type: str
    iteration: str | None = Field(description="rounds of the loops around it, such as 2.0; null outside of loops")
    state: Literal["running", "waiting", "succeeded", "failed", "skipped", "cancelled"]
    attempts: int
    input: Any
    output: Any
    error: StepErrorView | None
    node: str | None = Field(description="name of the node that ran it")
    started_at: datetime | None
    finished_at: datetime | None
    wake_at: datetime | None = Field(description="until when it waits, at most")
    reference: str | None = Field(description="what it waits for: a job, a task, an execution or a signal")


class ExecutionWarningView(BaseModel):
    """Something that keeps an execution waiting."""

    code: str
    message: str


class ExecutionView(BaseModel):
    """One run of a workflow."""

    id: str
    workflow: str
    version: int
    state: Literal["queued", "running", "waiting", "succeeded", "failed", "cancelled", "timed_out"]
    reason: str | None
    input: Any
    output: Any
    steps: list[StepView] | None = Field(description="in the order in which they began; null in lists")
    parent: str | None = Field(description="the execution that started it")
    created_by: str = Field(description="id of the principal who started it")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested: bool
    warnings: list[ExecutionWarningView] = Field(description="what keeps it waiting, such as key.unserved")


class ExecutionPageView(BaseModel):
    """Some executions, newest first."""

    items: list[ExecutionView]
    next: str | None = Field(description="give it as after; null on the last page")


class WorkflowView(BaseModel):
    """A workflow."""

    name: str
    title: str
    latest: int = Field(description="number of its newest version")
    enabled: int | None = Field(description="number of the version that starts executions")
    trigger: str | None = Field(description="type of the trigger of that version")
    updated_at: datetime


class WorkflowPageView(BaseModel):
    """Some workflows, by name."""

    items: list[WorkflowView]
    next: str | None


class StoredView(WorkflowView):
    """A workflow after a version was stored or enabled."""

    version: int = Field(description="number of the version that was stored")
    created: bool = Field(description="false where the newest version was the same")
    webhook: str | None = Field(description="path of its webhook; told once, when its secret is made")


class VersionView(BaseModel):
    """One version of a workflow."""

    name: str
    version: int
    title: str
    definition: dict[str, Any]
    created_by: str
    created_at: datetime


class VersionPageView(BaseModel):
    """Some versions, newest first."""

    items: list[VersionView]
    next: str | None


class StepTypeView(BaseModel):
    """A type of step that workflows may use here."""

    type: str
    title: str
    description: str
    params: dict[str, Any] = Field(description="JSON Schema of its fields")


class StepTypePageView(BaseModel):
    """Every type of step."""

    items: list[StepTypeView]
    next: str | None


def execution_json(shown: Shown, *, with_steps: bool = True) -> dict[str, Any]:
    """Return an execution as the contract's JSON object."""
    row = shown.row
    warnings = [dict(one) for one in shown.warnings]
    return {
        "id": row.id,
        "workflow": row.workflow,
        "version": row.version,
        "state": row.state,
        "reason": row.reason or (warnings[0]["message"] if warnings else None),
        "input": _input(row),
        "output": row.output,
        "steps": [step_json(step) for step in shown.steps] if with_steps else None,
        "parent": row.parent,
        "created_by": row.created_by,
        "created_at": instant(row.created_at),
        "started_at": instant(row.started_at),
        "finished_at": instant(row.finished_at),
        "cancel_requested": row.cancel_requested and row.is_open,
        "warnings": warnings,
    }


def step_json(step: StepRow) -> dict[str, Any]:
    """Return a step as the contract's JSON object."""
    return {
        "path": step.path,
        "key": step.key,
        "type": step.type,
        "iteration": step.iteration or None,
        "state": step.state,
        "attempts": step.attempts,
        "input": step.input,
        "output": step.output,
        "error": step.error,
        "node": step.node,
        "started_at": None if step.state == "skipped" else instant(step.started_at),
        "finished_at": instant(step.finished_at),
        "wake_at": instant(step.wake_at),
        "reference": step.reference,
    }


def workflow_json(row: WorkflowRow) -> dict[str, Any]:
    """Return a workflow as JSON."""
    return {
        "name": row.name,
        "title": row.title,
        "latest": row.latest,
        "enabled": row.enabled,
        "trigger": row.trigger_type,
        "updated_at": instant(row.updated_at),
    }


def stored_json(stored: Stored) -> dict[str, Any]:
    """Return what was stored as JSON."""
    more = {"version": stored.number, "created": stored.is_new, "webhook": stored.hook}
    return {**workflow_json(stored.workflow), **more}


def version_json(row: VersionRow) -> dict[str, Any]:
    """Return a version as JSON."""
    return {
        "name": row.name,
        "version": row.number,
        "title": row.title,
        "definition": dict(row.definition),
        "created_by": row.created_by,
        "created_at": instant(row.created_at),
    }


def step_types_json(forms: Mapping[str, StepForm]) -> Sequence[dict[str, Any]]:
    """Return the types of steps as JSON."""
    return [
        {
            "type": form.type,
            "title": form.title,
            "description": form.description or (form.params.__doc__ or ""),
            "params": form.params.model_json_schema(),
        }
        for _, form in sorted(forms.items())
    ]


def instant(at: datetime | None) -> str | None:
    """Return an instant as JSON has it."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _input(row: ExecutionRow) -> Any:
    trigger = row.trigger if isinstance(row.trigger, dict) else {}
    return trigger.get("input") if trigger.get("type") in ("api", "workflow") else trigger
