"""What a ``shop-report`` task takes."""

from pydantic import BaseModel, ConfigDict, Field


class ReportParams(BaseModel):
    """Which customer to report on, or all of them."""

    model_config = ConfigDict(extra="forbid")

    customer: str | None = Field(None, min_length=1, max_length=200)
