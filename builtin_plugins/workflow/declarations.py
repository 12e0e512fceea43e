"""What every node must know of workflows: their jobs, their settings, and the hooks by which others add steps."""

from collections.abc import Sequence

from pydantic import BaseModel

from builtin_plugins.workflow import KEY
from builtin_plugins.workflow.hookspecs import StepHooks
from builtin_plugins.workflow.payload import WorkflowJob
from builtin_plugins.workflow.settings import WorkflowSettings
from nocohost import JobType, hookimpl

ATTEMPTS = 20


@hookimpl
def register_settings() -> type[BaseModel]:
    """Declare the settings of workflows."""
    return WorkflowSettings


@hookimpl
def register_jobs() -> list[JobType]:
    """Declare ``workflow:process``; a driver is lost with this many nodes before its execution is given up."""
    return [
        JobType(KEY, payload=WorkflowJob, attempts=ATTEMPTS, description="goes on with one execution of a workflow")
    ]


@hookimpl
def register_hookspecs() -> Sequence[type]:
    """Publish the hooks by which other plugins add types of steps."""
    return [StepHooks]
