"""The payloads of jobs of ``workflow:process``."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class WorkflowJob(BaseModel):
    """What a job of ``workflow:process`` is for: to go on with an execution, to start some, or else to tidy up."""

    execution: str | None = Field(None, max_length=36)
    due: datetime | None = Field(None, description="an instant that has come by the database's clock")
    workflow: str | None = Field(None, max_length=64, description="a tick of the schedule of this workflow")
    resource: str | None = Field(None, description="records of this resource have changed")
    event: str | None = None
    subscription: str | None = None
    data: Mapping[str, Any] = {}
    records: Sequence[Mapping[str, Any]] = ()
