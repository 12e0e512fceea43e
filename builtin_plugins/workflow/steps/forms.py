"""What the steps take that come with workflows; those of blocks are read apart."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, field_validator, model_validator

from builtin_plugins.workflow.form import StepForm

YEARS = 100 * 366 * 86_400.0


class Params(BaseModel):
    """The fields of a step: no others are taken."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


class CalculateParams(Params):
    """``calculate``: its value is that of an expression."""

    value: str


class ConditionParams(Params):
    """``condition``: runs ``then`` or ``else``."""

    test: str = Field(alias="if")


class SwitchParams(Params):
    """``switch``: runs the first case whose ``equals`` is the value, else ``default``."""

    value: str


class LoopParams(Params):
    """``loop``: runs ``do`` for each item, a number of times, or while something holds."""

    over: str | None = None
    count: Annotated[StrictInt, Field(ge=0)] | None = None
    test: str | None = Field(None, alias="while")
    name: str | None = Field(None, alias="as")
    max: int = Field(1000, ge=1, le=10_000)
    on_item_error: Literal["stop", "break", "continue"] = "stop"

    @model_validator(mode="after")
    def _one_kind(self) -> "LoopParams":
        if sum(one is not None for one in (self.over, self.count, self.test)) != 1:
            raise ValueError("a loop has exactly one of over, count and while")
        return self


class ParallelParams(Params):
    """``parallel``: runs its branches at the same time."""

    mode: Literal["all", "any", "race", "settled"] = "all"


class DelayParams(Params):
    """``delay``: goes on after so many seconds; a negative number is none."""

    seconds: float = Field(le=YEARS)


class WaitUntilParams(Params):
    """``wait_until``: goes on at an instant, RFC 3339 with its time zone; one in the past is now."""

    at: str


class HttpParams(Params):
    """``http``: sends a request, and its value is the answer."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: str = Field(max_length=8192)
    query: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}
    json_body: Any = Field(None, alias="json")
    body: str | None = None
    accept_status: Sequence[int] = Field((), description="statuses that are no failure; unset: those below 400")


class QueryParams(Params):
    """``resource.query``: its value is a list of records."""

    resource: str
    filter: Any = None
    sort: str | Sequence[str] | None = None
    fields: str | Sequence[str] | None = None
    limit: int = Field(100, ge=1, le=1000)


class CreateParams(Params):
    """``resource.create``: its value is the record."""

    resource: str
    values: Mapping[str, Any]


class UpdateParams(Params):
    """``resource.update``: its value is the record as it is then."""

    resource: str
    id: Any
    values: Mapping[str, Any]


class DeleteParams(Params):
    """``resource.delete``: its value is the record as it was."""

    resource: str
    id: Any


class AggregateParams(Params):
    """``resource.aggregate``: its value is a number, or null."""

    resource: str
    function: Literal["count", "sum", "avg", "min", "max"] = "count"
    field: str | None = None
    filter: Any = None

    @model_validator(mode="after")
    def _has_field(self) -> "AggregateParams":
        if (self.field is None) != (self.function == "count"):
            raise ValueError("field goes with sum, avg, min and max, and not with count")
        return self


class JobParams(Params):
    """``job``: enqueues a job under any declared key; its value is the job's."""

    job: str
    payload: Mapping[str, Any] = {}
    priority: int | None = None
    wait: bool = True


class TaskParams(Params):
    """``task``: starts a task; its value is the result, with the file if it made one."""

    kind: str
    params: Mapping[str, Any] = {}
    task_title: str | None = Field(None, max_length=200)


class WorkflowParams(Params):
    """``workflow``: starts another workflow; its value is the output of that."""

    workflow: str
    input: Any = None
    wait: bool = True


class SignalParams(Params):
    """``signal``: waits for a signal to this execution; its value is what came with it."""

    name: str = Field(min_length=1, max_length=100)

    @field_validator("name")
    @classmethod
    def _is_printable(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("a signal has a name of printable characters")
        return name


class EndParams(Params):
    """``end``: ends the execution."""

    state: Literal["succeeded", "failed"] = "succeeded"
    reason: str | None = Field(None, max_length=1000)


BLOCK_TYPES = frozenset({"condition", "switch", "loop", "parallel"})
FORMS: Sequence[StepForm] = (
    StepForm("calculate", "Calculate", CalculateParams),
    StepForm("condition", "Condition", ConditionParams),
    StepForm("switch", "Switch", SwitchParams),
    StepForm("loop", "Loop", LoopParams),
    StepForm("parallel", "Parallel", ParallelParams),
    StepForm("delay", "Delay", DelayParams),
    StepForm("wait_until", "Wait until", WaitUntilParams),
    StepForm("http", "HTTP request", HttpParams),
    StepForm("resource.query", "Query records", QueryParams),
    StepForm("resource.create", "Create a record", CreateParams),
    StepForm("resource.update", "Update a record", UpdateParams),
    StepForm("resource.delete", "Delete a record", DeleteParams),
    StepForm("resource.aggregate", "Aggregate records", AggregateParams),
    StepForm("job", "Job", JobParams),
    StepForm("task", "Task", TaskParams),
    StepForm("workflow", "Workflow", WorkflowParams),
    StepForm("signal", "Wait for a signal", SignalParams),
    StepForm("end", "End", EndParams),
)
