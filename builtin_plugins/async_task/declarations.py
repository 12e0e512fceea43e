"""What every node must know of tasks: their jobs, their settings, and the hooks by which others add kinds."""

from collections.abc import Sequence

from pydantic import BaseModel, Field

from builtin_plugins.async_task import KEY
from builtin_plugins.async_task.hookspecs import TaskHooks
from builtin_plugins.async_task.kind import MOST_ATTEMPTS
from builtin_plugins.async_task.settings import TaskSettings
from nocohost import JobType, hookimpl


class TaskJob(BaseModel):
    """The payload of a job of ``async-task:process``: which task to run; without one, what is over is tidied up."""

    task: str | None = Field(None, max_length=36)


@hookimpl
def register_settings() -> type[BaseModel]:
    """Declare the settings of tasks."""
    return TaskSettings


@hookimpl
def register_jobs() -> list[JobType]:
    """Declare ``async-task:process``; how often a task is tried is a matter of its kind."""
    return [JobType(KEY, payload=TaskJob, attempts=MOST_ATTEMPTS, description="runs one task that a person watches")]


@hookimpl
def register_hookspecs() -> Sequence[type]:
    """Publish the hooks by which other plugins add kinds of tasks."""
    return [TaskHooks]
