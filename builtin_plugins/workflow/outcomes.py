"""Recording what came of steps: their values, their errors, and the wait before another attempt. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from builtin_plugins.workflow.definition import Step
from builtin_plugins.workflow.effects import Ended, checked
from builtin_plugins.workflow.progress import LIMIT, Progress
from builtin_plugins.workflow.step_row import StepRow
from builtin_plugins.workflow.steps.contract import Answer, timed_out

RETRY = "retry"
"""What a step refers to that waits for its next attempt."""
ABSENT = "absent"
"""What a step refers to that waits for its type to be installed again."""
ABSENT_SECONDS = 30.0
TOO_LONG = "timeout"
"""What a delay refers to that is longer than its step may take."""


def is_held(row: StepRow) -> bool:
    """Tell whether a step that waits is to begin anew; such a one has an error, a signal may be called as it likes."""
    return row.reference in (RETRY, ABSENT) and row.error is not None


class Expiring(Protocol):
    """What knows what comes of a step whose ``wake_at`` has passed."""

    def expired(self, row: StepRow) -> Answer:
        """Return its value or its error."""


class Outcomes:
    """Records the outcomes of the steps of one execution, by the rules of its definition."""

    def __init__(self, progress: Progress, steps: Mapping[str, Step]) -> None:
        self._progress = progress
        self._steps = steps

    def answer(self, row: StepRow, answer: Answer) -> None:
        """Record what a step has waited for, or gave at once."""
        if answer.error is not None:
            self.fail(row, *answer.error)
            return
        self.end([checked(row.place, answer.value)])

    def fail(self, row: StepRow, code: str, message: str, *, retryable: bool = True) -> None:
        """Fail a step, or let it wait for its next attempt."""
        rule, message = self._steps[row.path].retry, message[:2000].encode("utf-8", "replace").decode()
        failures = row.failures + 1
        if not retryable or failures >= rule.attempts:
            self._progress.fail(self._progress.change(row, failures=failures), code, message)
            return
        at = self._progress.now + timedelta(seconds=rule.wait_seconds(failures))
        error = {"code": code, "message": message}
        self._progress.change(row, state="waiting", failures=failures, error=error, reference=RETRY, wake_at=at)

    def end(self, ended: Iterable[Ended]) -> None:
        """Record what came of steps that ran beside their execution."""
        for one in ended:
            row = self._progress.rows[one.place]
            if one.code is not None:
                self.fail(row, one.code, one.message, retryable=one.retryable)
            elif self._progress.fits(one.value):
                self._progress.succeed(row, one.value)
            else:
                self.fail(row, LIMIT, self._progress.no_room, retryable=False)

    def expire(self, waits: Mapping[str, Expiring]) -> Sequence[StepRow]:
        """Go on with the steps whose wait is over by the clock; return those, as they were, that gave a wait up."""
        overdue = []
        for row in list(self._progress.rows.values()):
            if row.state != "waiting" or row.wake_at is None or row.wake_at > self._progress.now:
                continue
            if is_held(row):
                self._progress.change(row, state="running", reference=None, wake_at=None)
            elif row.reference == TOO_LONG:
                self.answer(row, timed_out(row))
            else:
                overdue.append(row)
                self.answer(row, waits[row.type].expired(row))
        return overdue

    def miss(self, row: StepRow) -> None:
        """Let a step wait whose type nobody runs here."""
        message = f"step type {row.type} not available on this node; plugins list says why"
        self._progress.change(
            self._progress.rows[row.place],
            state="waiting",
            reference=ABSENT,
            wake_at=self._progress.now + timedelta(seconds=ABSENT_SECONDS),
            error={"code": "workflow.step_absent", "message": message},
        )
