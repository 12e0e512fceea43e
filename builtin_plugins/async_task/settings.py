"""The settings of tasks."""

from pydantic import BaseModel, Field

DAY = 86_400.0


class TaskSettings(BaseModel):
    """Read from ``NOCOHOST_PLUGINS__ASYNC_TASK__*``."""

    concurrency: int | None = Field(
        None, ge=1, le=256, description="tasks at a time on one node; unset: as many as it has cores"
    )
    memory_mib: int = Field(1024, ge=128, description="memory of the child of a task; a kind may ask for less")
    timeout_seconds: float | None = Field(
        None, gt=0, description="how long an attempt may take where its kind says nothing; unset: for ever"
    )
    retention_seconds: float = Field(7 * DAY, ge=60, description="how long a task and its files are kept after its end")
    max_row_errors: int = Field(10_000, ge=0, le=1_000_000, description="row errors kept of a task; more are counted")
    upload_bytes: int = Field(1 << 30, ge=1, description="how large an uploaded file may be")
