"""The job types of the bench."""

from typing import Literal

from pydantic import BaseModel

from nocohost import JobType, hookimpl


class Plan(BaseModel):
    """What a job is to do: each job carries the name of the operation that made it."""

    op: str
    seconds: float = 0.0
    """How long it works."""
    fails: int = 0
    """How often it fails first."""
    how: Literal["raise", "retry", "snooze", "dead"] = "raise"
    """How it fails; ``snooze`` comes back later once, ``dead`` gives up at once."""


@hookimpl
def register_jobs() -> list[JobType]:
    """Declare the keys; only ``chaos:brittle`` runs out of attempts."""
    patient = ("chaos:quick", "chaos:slow", "chaos:relay", "chaos:order", "chaos:tick", "chaos:lonely")
    return [
        *(JobType(key, payload=Plan, attempts=1000) for key in patient),
        JobType("chaos:brittle", payload=Plan, attempts=3),
    ]
