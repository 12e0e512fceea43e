"""The outline of a definition: the fields of the whole, of triggers, and those that every step has."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

LONGEST = 10 * 366 * 86_400.0


class Outline(BaseModel):
    """No other fields are taken."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


class DefinitionFields(Outline):
    """The fields of a definition."""

    version: Literal[1] = Field(description="of the format")
    name: str
    title: str | None = Field(None, max_length=200)
    description: str | None = Field(None, max_length=10_000)
    timeout_seconds: float | None = Field(None, gt=0, le=LONGEST)
    trigger: Mapping[str, Any]
    steps: Sequence[Any]
    output: str | None = None


class RetryFields(Outline):
    """How often a failed step is tried again."""

    attempts: int = Field(ge=1, le=100, description="the first one counts")
    delay_seconds: float = Field(1.0, ge=0, le=86_400)
    factor: float = Field(2.0, ge=1, le=100)
    cap_seconds: float = Field(3600.0, ge=0, le=7 * 86_400)


class StepFields(Outline):
    """The fields that every step has, beside ``on_error``."""

    key: str
    type: str
    title: str | None = Field(None, max_length=200)
    retry: RetryFields | None = None
    timeout_seconds: float | None = Field(None, gt=0, le=LONGEST)


class ApiTrigger(Outline):
    """Started by ``POST /api/v1/workflows/{name}/executions``, or ``nocohost workflow run``."""

    type: Literal["api"]


class WorkflowTrigger(Outline):
    """Started by a ``workflow`` step of another workflow."""

    type: Literal["workflow"]


class WebhookTrigger(Outline):
    """Started by a request to its secret URL."""

    type: Literal["webhook"]
    when: str | None = None


class ResourceTrigger(Outline):
    """Started by a change of a record."""

    type: Literal["resource"]
    resource: str
    on: Sequence[Literal["create", "update", "delete"]] = Field(min_length=1)
    fields: Sequence[str] = ()
    when: str | None = None


class ScheduleTrigger(Outline):
    """Started by the clock."""

    type: Literal["schedule"]
    cron: str | None = None
    timezone: str = "UTC"
    interval_seconds: float | None = Field(None, ge=1, le=LONGEST)
    start_at: AwareDatetime | None = None
    end_at: AwareDatetime | None = None
    limit: int | None = Field(None, ge=1)
    catch_up: Literal["skip", "once", "all"] = "skip"

    @model_validator(mode="after")
    def _one_kind(self) -> "ScheduleTrigger":
        if (self.cron is None) == (self.interval_seconds is None):
            raise ValueError("either cron or interval_seconds")
        return self

    def covers(self, instant: datetime) -> bool:
        """Tell whether it may start something at ``instant``."""
        return (self.start_at is None or instant >= self.start_at) and (self.end_at is None or instant < self.end_at)


TRIGGERS: Mapping[str, type[Outline]] = {
    "api": ApiTrigger,
    "schedule": ScheduleTrigger,
    "resource": ResourceTrigger,
    "webhook": WebhookTrigger,
    "workflow": WorkflowTrigger,
}
