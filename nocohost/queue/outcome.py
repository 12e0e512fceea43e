"""What becomes of a job after an attempt: pure rules, no I/O."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from random import random
from typing import Any

from nocohost.api.errors import PayloadError
from nocohost.api.job import DeadLetter, JobState, Retry, Snooze
from nocohost.api.service import Service
from nocohost.queue.payload import json_value
from nocohost.store.endings import Ending

LONGEST_DELAY_SECONDS = 10 * 365 * 86400.0


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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is written after an attempt: an ending, or the job goes back to pending; or nothing at all."""

    name: str
    """``succeeded``, ``dead``, ``cancelled``, ``retried``, ``snoozed``, ``released`` or ``fenced``."""
    ending: Ending | None = None
    delay_seconds: float = 0.0
    charge: bool = False
    error: str | None = None


FENCED = Verdict("fenced")
RELEASED = Verdict("released")
CANCELLED = Verdict("cancelled", Ending(JobState.CANCELLED, last_error="cancelled on request"))


@dataclass(frozen=True, slots=True)
class Rules:
    """How the attempts of one job are judged."""

    service: Service
    attempts: int
    """How often the job may fail."""
    charged: int
    """How often it has failed before this attempt."""
    draw: Callable[[], float] = random

    def returned(self, outcome: Any) -> Verdict:
        """Judge what the handler returned."""
        if isinstance(outcome, DeadLetter):
            return dead(str(outcome.reason))
        if isinstance(outcome, Retry | Snooze):
            return self._later(outcome)
        try:
            value = json_value("what the handler returned", outcome)
        except PayloadError as error:
            return self.failed(f"{error.message}; return None, a JSON value, Retry, Snooze or DeadLetter")
        return Verdict("succeeded", Ending(JobState.SUCCEEDED, value=value))

    def failed(self, error: str, delay_seconds: float | None = None) -> Verdict:
        """Judge a failed attempt: again after the backoff, or a dead letter when the attempts are used up."""
        failures = self.charged + 1
        if failures >= self.attempts:
            return Verdict("dead", Ending(JobState.DEAD, last_error=error, charge=True), charge=True, error=error)
        if delay_seconds is None:
            delay_seconds = self.service.backoff.delay_seconds(failures, self.draw)
        return Verdict("retried", delay_seconds=min(delay_seconds, LONGEST_DELAY_SECONDS), charge=True, error=error)

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
    return Verdict("dead", Ending(JobState.DEAD, last_error=reason), error=reason)
