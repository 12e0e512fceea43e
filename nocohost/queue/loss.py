"""What becomes of a job that was lost with its node, by the policy of its service."""

from collections.abc import Callable, Mapping
from random import random

from nocohost.api.job import JobState
from nocohost.api.service import JobType, Service
from nocohost.queue.outcome import Rules
from nocohost.store.orphans import RUN_AGAIN, Fate, Lost

LOSSES = 20
"""A job that so many nodes were lost with is kept for a person: it may well be what they died of."""


class LossRules:
    """Judges lost jobs of the keys that a node serves; the loss charges nobody, unless the service says so."""

    def __init__(
        self,
        services: Mapping[str, Service],
        job_type: Callable[[str], JobType | None],
        draw: Callable[[], float] = random,
    ) -> None:
        self._services = services
        self._job_type = job_type
        self._draw = draw

    def judge(self, lost: Lost) -> Fate:
        """Say what becomes of a job whose node is gone."""
        service = self._services.get(lost.key)
        told = f"node {lost.node_id} was lost while it ran the job"
        if service is not None and service.on_crash == "hold":
            return Fate(JobState.DEAD, error=f"held for a person: {told}")
        if service is not None and service.on_crash == "fail":
            attempts = (self._job_type(lost.key) or JobType(lost.key)).attempts
            verdict = Rules(service, attempts, lost.attempts, self._draw).failed(told)
            return Fate(verdict.state, verdict.delay_seconds, verdict.charge, verdict.error)
        if lost.losses + 1 >= LOSSES:
            return Fate(JobState.DEAD, error=f"lost with {lost.losses + 1} nodes that ran it; the last: {told}")
        return RUN_AGAIN
