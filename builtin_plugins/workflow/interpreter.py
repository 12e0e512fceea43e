"""What comes next: pure. From a definition and the steps so far it follows what may begin, and whether all is over.

``advance`` walks the definition from its start. Steps that have ended give their values; pure steps are evaluated on
the way; a step with an effect is told to its caller, who runs it, writes down what came of it, and advances again.
Nothing here waits, reads a clock or writes, so the same steps always lead to the same next ones.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from builtin_plugins.workflow.definition import Definition, Step
from builtin_plugins.workflow.errors import ExpressionError
from builtin_plugins.workflow.loops import loop_failure, loop_items, loop_value
from builtin_plugins.workflow.progress import LIMIT, Progress
from builtin_plugins.workflow.scope import Scope, evaluated
from builtin_plugins.workflow.step_row import Place, StepRow

REASON_LETTERS = 2000


@dataclass(frozen=True, slots=True)
class End:
    """How an execution ends."""

    state: str
    reason: str | None = None
    output: Any = None


@dataclass(frozen=True, slots=True)
class Start:
    """A step with an effect that is to run now; its row says so already."""

    step: Step
    row: StepRow


@dataclass(slots=True)
class Plan:
    """What follows from the steps so far."""

    starts: list[Start] = field(default_factory=list)
    cancelled: list[StepRow] = field(default_factory=list)
    """Steps that nobody waits for any more, as they were."""
    end: End | None = None


class Way(Enum):
    """How far a block is."""

    DONE = "done"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Failed:
    """A block has failed at a step."""

    path: str
    message: str


Outcome = Way | Failed | End


class LimitReachedError(ExpressionError):
    """An execution is at one of its limits; the message names it."""

    code = LIMIT


def advance(
    definition: Definition,
    progress: Progress,
    trigger: Any,
    *,
    running: Collection[Place] = (),
    max_steps: int = 10_000,
) -> Plan:
    """Return what is to begin now, and the end if it has come; evaluates and records pure steps in ``progress``.

    ``running`` are the steps that its caller runs at this moment. Any other that is running by its row was lost, and is
    begun again.
    """
    walk = Walk(progress, running, max_steps)
    scope = Scope.start(trigger)
    try:
        outcome = walk.block(definition.steps, "", scope)
        if outcome is Way.DONE:
            output = None if definition.output is None else definition.output.evaluate(scope.names)
            outcome = End("succeeded", None, output)
        elif isinstance(outcome, End) and outcome.state == "succeeded" and definition.output is not None:
            outcome = End("succeeded", outcome.reason, definition.output.evaluate(scope.names))
    except LimitReachedError as error:
        outcome = End("failed", error.message)
    except ExpressionError as error:
        outcome = End("failed", f"output: {error.message}")
    if isinstance(outcome, Failed):
        outcome = End("failed", f"{outcome.path}: {outcome.message}")
    if isinstance(outcome, End):
        walk.plan.end = replace(outcome, reason=_kept(outcome.reason))
        walk.plan.starts.clear()
        walk.plan.cancelled.extend(progress.cancel_below("", ""))
    return walk.plan


class Walk:
    """One walk over a definition."""

    def __init__(self, progress: Progress, running: Collection[Place], max_steps: int) -> None:
        self.plan = Plan()
        self._progress = progress
        self._running = running
        self._max_steps = max_steps

    def block(self, steps: Sequence[Step], iteration: str, scope: Scope) -> Outcome:
        """Walk the steps of a block, one after the other."""
        for step in steps:
            outcome = self._step(step, iteration, scope)
            if outcome is not Way.DONE:
                return outcome
        return Way.DONE

    def _step(self, step: Step, iteration: str, scope: Scope) -> Outcome:
        row = self._progress.find(step.path, iteration)
        if row is None:
            row = self._begin(step, iteration, scope)
        elif row.state == "running" and step.type not in WALKS and row.place not in self._running:
            row = self._progress.change(row, attempts=row.attempts + 1, node=self._progress.node)
            self.plan.starts.append(Start(step, row))
        if row.is_over:
            return self._ended(step, row, iteration, scope)
        if row.state == "running" and step.type in WALKS:
            outcome = WALKS[step.type](self, step, row, scope)
            row = self._progress.rows[row.place]
            return self._ended(step, row, iteration, scope) if row.is_over and outcome is Way.DONE else outcome
        return Way.BLOCKED

    def _begin(self, step: Step, iteration: str, scope: Scope) -> StepRow:
        if len(self._progress.rows) >= self._max_steps:
            raise LimitReachedError(f"limit: max_steps: an execution runs at most {self._max_steps} steps")
        try:
            params = evaluated({name: one for name, one in step.params.items() if name != "while"}, scope.names)
            if not self._progress.fits(*params.values()):
                raise LimitReachedError(self._progress.no_room)
            return self._recorded(step, iteration, params)
        except ExpressionError as error:
            row = self._progress.begin(step, iteration, state="running")
            return self._progress.fail(row, error.code, str(error))

    def _recorded(self, step: Step, iteration: str, params: Mapping[str, Any]) -> StepRow:
        """Record what has begun: pure steps with their value, blocks with their choice, others as to be started."""
        if step.type == "calculate":
            return self._over(step, iteration, None, params["value"])
        if step.type == "end":
            return self._over(step, iteration, params, params.get("state", "succeeded"))
        if step.type == "condition":
            if not isinstance(params["if"], bool):
                raise ExpressionError(f"if is {type(params['if']).__name__}, not true or false")
            return self._progress.begin(step, iteration, state="running", output=params["if"])
        if step.type == "switch":
            cases = params["cases"]
            chosen = next((str(place) for place, one in enumerate(cases) if one == params["value"]), "default")
            return self._progress.begin(step, iteration, state="running", input=params["value"], output=chosen)
        if step.type == "loop":
            items = loop_items(params)
            cursor = {"index": 0, "errors": 0}
            return self._progress.begin(step, iteration, state="running", input=items, cursor=cursor)
        row = self._progress.begin(step, iteration, state="running", input=dict(params))
        if step.type != "parallel":
            self.plan.starts.append(Start(step, row))
        return row

    def _over(self, step: Step, iteration: str, params: Any, value: Any) -> StepRow:
        return self._progress.begin(
            step, iteration, state="succeeded", input=params, output=value, finished_at=self._progress.now
        )

    def _ended(self, step: Step, row: StepRow, iteration: str, scope: Scope) -> Outcome:
        """Give the value of a step that has ended, and say whether the block goes on after it."""
        if row.state == "failed":
            if step.on_error == "fail":
                return Failed(row.path, str((row.error or {}).get("message", "")))
            scope.steps[step.key] = {"error": row.error}
            return self.block(step.blocks["on_error"], iteration, scope) if step.on_error == "route" else Way.DONE
        if row.state == "succeeded":
            if step.type == "end":
                return End(str(row.output), (row.input or {}).get("reason"))
            if step.type in ("condition", "switch", "parallel"):
                self._gather(step, iteration, scope)
            scope.steps[step.key] = row.output
        return Way.DONE

    def _gather(self, step: Step, iteration: str, scope: Scope) -> None:
        """Give the values of the steps inside a block that has ended."""
        for block, inner in step.blocks.items():
            if block == "on_error":
                continue
            for one in inner:
                row = self._progress.find(one.path, iteration)
                if row is None:
                    continue
                if row.state == "succeeded":
                    scope.steps[one.key] = row.output
                elif row.state == "failed":
                    scope.steps[one.key] = {"error": row.error}
                if one.type in ("condition", "switch", "parallel"):
                    self._gather(one, iteration, scope)

    def choice(self, step: Step, row: StepRow, scope: Scope) -> Outcome:
        """Walk the chosen block of a condition or switch."""
        chosen = row.output if step.type == "switch" else ("then" if row.output else "else")
        outcome = self.block(step.blocks.get(chosen, ()), row.iteration, scope)
        return self._closed(row, outcome, row.output)

    def loop(self, step: Step, row: StepRow, scope: Scope) -> Outcome:
        """Walk the rounds of a loop, from the one that it is in."""
        policy, most = step.params.get("on_item_error", "stop"), step.params.get("max", 1000)
        last: Mapping[str, Any] = {}
        while True:
            cursor = row.cursor
            index = cursor["index"]
            inner = scope.round(step, row.input, index, last)
            try:
                if not self._enters(step, row, index, most, inner):
                    break
            except ExpressionError as error:
                self._progress.fail(row, error.code, error.message)
                return Way.DONE
            place = f"{row.iteration}.{index}" if row.iteration else str(index)
            inner.forget_last(step)
            outcome = self.block(step.blocks["do"], place, inner)
            row = self._progress.rows[row.place]
            if outcome is Way.BLOCKED or isinstance(outcome, End):
                return outcome
            if isinstance(outcome, Failed):
                self.plan.cancelled.extend(self._progress.cancel_below(f"{row.path}/do/", place))
                if policy == "stop":
                    return self._closed(row, outcome, None)
                cursor = {**cursor, "errors": cursor["errors"] + 1}
            row = self._progress.change(row, cursor={"index": index + 1, "errors": cursor["errors"]})
            last = inner.own_steps(step)
            if isinstance(outcome, Failed) and policy == "break":
                break
        value = loop_value(step, row, self._progress)
        if self._progress.fits(value):
            self._progress.succeed(row, value)
        else:
            self._progress.fail(row, LIMIT, self._progress.no_room)
        return Way.DONE

    def _enters(self, step: Step, row: StepRow, index: int, most: int, inner: Scope) -> bool:
        """Tell whether a loop goes into another round; raises ``ExpressionError``."""
        condition = step.params.get("while")
        if condition is None:
            return bool(index < row.input["count"])
        if row.cursor.get("entered") == index:
            return True
        if index > 0 and not inner.has_last:
            inner.recall(step, row, index - 1, self._progress)
        value = condition.evaluate(inner.names)
        if not isinstance(value, bool):
            raise ExpressionError(f"while is {type(value).__name__}, not true or false")
        if value and index >= most:
            raise loop_failure(most)
        if value:
            self._progress.change(row, cursor={**row.cursor, "entered": index})
        return value

    def parallel(self, step: Step, row: StepRow, scope: Scope) -> Outcome:
        """Walk every branch, as far as each gets."""
        outcomes = [
            self.block(branch, row.iteration, scope) for name, branch in step.blocks.items() if name != "on_error"
        ]
        end = next((one for one in outcomes if isinstance(one, End)), None)
        if end is not None:
            return end
        failed = [place for place, one in enumerate(outcomes) if isinstance(one, Failed)]
        done = [place for place, one in enumerate(outcomes) if one is Way.DONE]
        mode = step.params.get("mode", "all")
        all_over = len(failed) + len(done) == len(outcomes)
        winner = _winner(mode, failed, done, all_over=all_over)
        if winner is None:
            return Way.BLOCKED
        self._cancel_branches(step, row)
        row = self._progress.rows[row.place]
        if winner in failed and mode != "settled":
            return self._closed(row, outcomes[winner], None)
        value = {"winner": winner if mode in ("any", "race") else None, "failed": failed}
        return self._closed(row, Way.DONE, value)

    def _cancel_branches(self, step: Step, row: StepRow) -> None:
        stopped = self._progress.cancel_below(f"{row.path}/", row.iteration)
        self.plan.cancelled.extend(stopped)
        places = {one.place for one in stopped}
        self.plan.starts[:] = [start for start in self.plan.starts if start.row.place not in places]

    def _closed(self, row: StepRow, outcome: Outcome, value: Any) -> Outcome:
        """End a block by what became of the steps inside it."""
        if outcome is Way.DONE:
            self._progress.succeed(row, value)
        elif isinstance(outcome, Failed):
            self._progress.fail(row, "workflow.inner", f"{outcome.path}: {outcome.message}")
        else:
            return outcome
        return Way.DONE


WALKS: Mapping[str, Any] = {
    "condition": Walk.choice,
    "switch": Walk.choice,
    "loop": Walk.loop,
    "parallel": Walk.parallel,
}


def _kept(reason: Any) -> str | None:
    """Return a reason as a text that every database holds, whatever an expression has made of it."""
    if reason is None:
        return None
    text = reason if isinstance(reason, str) else json.dumps(reason)
    return text[:REASON_LETTERS].replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _winner(mode: str, failed: Sequence[int], done: Sequence[int], *, all_over: bool) -> int | None:
    """Return the branch that decides a parallel step, None as long as none does."""
    if mode == "all":
        return failed[0] if failed else (done[0] if all_over else None)
    if mode == "any":
        return done[0] if done else (failed[0] if all_over else None)
    if mode == "race":
        first = sorted([*done, *failed])
        return first[0] if first else None
    return (done or failed)[0] if all_over else None
