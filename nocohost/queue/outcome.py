"""What becomes of a job after an attempt: pure rules, no I/O."""

from collections.abc import Callable
from enum import StrEnum
from math import isfinite
from random import random
from typing import Any, NamedTuple

from nocohost.api.errors import PayloadError
from nocohost.api.job import DeadLetter, JobState, Retry, Snooze
from nocohost.api.service import Service
from nocohost.queue.payload import json_text
from nocohost.store.endings import storable
from nocohost.store.hot.values import ClaimedJob, Settlement

LONGEST_DELAY_SECONDS = 10 * 365 * 86400.0
CRASHES = 3
"""So many children that died of a job make it a dead letter."""


class Interruption(StrEnum):
    """Why a node cancels a handler."""

    CANCEL = "cancel"
    """A person asked to cancel the job."""
    DRAIN = "drain"
    """The node stops, and its drain deadline has come."""
    LEASE = "lease"
    """The node cannot renew its lease; others are about to take the job."""
    FENCE = "fence"
    """The job has moved on to another attempt already."""
    TIMEOUT = "timeout"
    """The attempt took longer than the service allows."""


class Verdict(NamedTuple):
    """What is written after an attempt: its job ends in ``state``, or goes back to pending; or nothing at all."""

    name: str
    """``succeeded``, ``dead``, ``cancelled``, ``retried``, ``crashed``, ``snoozed``, ``released`` or ``fenced``."""
    state: JobState = JobState.PENDING
    value: str | None = None
    """JSON text."""
    delay_seconds: float = 0.0
    charge: bool = False
    crash: bool = False
    error: str | None = None

    def settle(self, job: ClaimedJob) -> Settlement:
        """Return what is written of the job that the attempt was of."""
        error = None if self.error is None else storable(self.error)
        return Settlement(
            job.id, job.claim_id, self.state, self.value, error, self.charge, self.crash, self.delay_seconds
        )


FENCED = Verdict("fenced")
RELEASED = Verdict("released")
CANCELLED = Verdict("cancelled", JobState.CANCELLED, error="cancelled on request")
SUCCEEDED = Verdict("succeeded", JobState.SUCCEEDED)


class Rules(NamedTuple):
    """How the attempts of one job are judged."""

    service: Service
    attempts: int
    """How often the job may fail."""
    charged: int
    """How often it has failed before this attempt."""
    draw: Callable[[], float] = random

    def returned(self, outcome: Any) -> Verdict:
        """Judge what the handler returned."""
        if outcome is None:
            return SUCCEEDED
        if isinstance(outcome, DeadLetter):
            return dead(str(outcome.reason))
        if isinstance(outcome, Retry | Snooze):
            return self._later(outcome)
        try:
            value = json_text("what the handler returned", outcome)
        except PayloadError as error:
            return self.failed(f"{error.message}; return None, a JSON value, Retry, Snooze or DeadLetter")
        return Verdict("succeeded", JobState.SUCCEEDED, value)

    def failed(self, error: str, delay_seconds: float | None = None) -> Verdict:
        """Judge a failed attempt: again after the backoff, or a dead letter when the attempts are used up."""
        failures = self.charged + 1
        if failures >= self.attempts:
            return Verdict("dead", JobState.DEAD, charge=True, error=error)
        if delay_seconds is None:
            delay_seconds = self.service.backoff.delay_seconds(failures, self.draw)
        return Verdict("retried", delay_seconds=min(delay_seconds, LONGEST_DELAY_SECONDS), charge=True, error=error)

    def crashed(self, error: str, crashes: int) -> Verdict:
        """Judge an attempt whose child died of it, after ``crashes`` others had."""
        if self.service.on_crash == "fail":
            return self.failed(error)._replace(crash=True)
        if self.service.on_crash == "hold":
            return Verdict("dead", JobState.DEAD, crash=True, error=f"held for a person: {error}")
        if crashes + 1 >= CRASHES:
            return Verdict(
                "dead", JobState.DEAD, crash=True, error=f"{crashes + 1} children died of it; the last: {error}"
            )
        delay_seconds = self.service.backoff.delay_seconds(crashes + 1, self.draw)
        return Verdict("crashed", delay_seconds=delay_seconds, crash=True, error=error)

    def interrupted(self, why: Interruption) -> Verdict:
        """Judge an attempt whose handler this node cancelled."""
        if why is Interruption.TIMEOUT:
            return self.failed(f"timeout: the attempt took longer than {self.service.timeout_seconds:g} s")
        if why is Interruption.CANCEL:
            return CANCELLED
        return FENCED if why is Interruption.FENCE else RELEASED

    def _later(self, outcome: Retry | Snooze) -> Verdict:
        delay = outcome.delay_seconds
        known = isinstance(delay, int | float) and not isinstance(delay, bool) and isfinite(delay)
        if not known and not (delay is None and isinstance(outcome, Retry)):
            return self.failed(f"the handler returned {outcome!r}, whose delay is no number of seconds")
        if isinstance(outcome, Retry):
            return self.failed("the handler asked to retry", None if delay is None else max(float(delay), 0.0))
        assert delay is not None
        return Verdict("snoozed", delay_seconds=min(max(float(delay), 0.0), LONGEST_DELAY_SECONDS))


def dead(reason: str) -> Verdict:
    """Return the verdict on a job that can never succeed; the attempt is not charged, for nothing would come of it."""
    return Verdict("dead", JobState.DEAD, error=reason)
