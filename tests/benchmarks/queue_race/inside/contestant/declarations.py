"""What nocohost must know of the benchmark's plugin, read from ``NOCOHOST_PLUGINS__RACE__*``."""

from pydantic import BaseModel, Field

from nocohost import JobType, hookimpl

KEY = "race:run"


class RaceSettings(BaseModel):
    """How the jobs of the benchmark are run."""

    concurrency: int = Field(default=200, ge=1, description="jobs that run at a time on one node")


@hookimpl
def register_settings() -> type[BaseModel]:
    """Declare the settings."""
    return RaceSettings


@hookimpl
def register_jobs() -> list[JobType]:
    """Declare the jobs, whose payload is any JSON object."""
    return [JobType(KEY, description="writes one record")]
