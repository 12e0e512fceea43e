"""What a ``shop.discount`` step takes."""

from pydantic import BaseModel, ConfigDict, Field


class DiscountParams(BaseModel):
    """Whose orders are counted, and what each is worth."""

    model_config = ConfigDict(extra="forbid")

    customer: str = Field(min_length=1)
    percent_per_order: float = Field(1.0, ge=0, le=10)
    most_percent: float = Field(5.0, ge=0, le=100)
