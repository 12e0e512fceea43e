"""Driving one execution: what the interpreter says comes next is done, and what came of it is written, step by step.

Everything is written through the claim of the job that drives, so a driver that has lost it writes nothing. A commit
holds what has ended and what begins next; steps with an effect run after the commit that says that they run.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError
from sqlalchemy import select, update

from builtin_plugins.workflow.definition import Definition, Step
from builtin_plugins.workflow.effects import Effects
from builtin_plugins.workflow.interpreter import End, Plan, Start, advance
from builtin_plugins.workflow.library import Library
from builtin_plugins.workflow.outcomes import ABSENT, TOO_LONG, Outcomes, is_held
from builtin_plugins.workflow.pokes import Pokes
from builtin_plugins.workflow.progress import Progress
from builtin_plugins.workflow.records import ExecutionRow, write_steps
from builtin_plugins.workflow.settings import WorkflowSettings
from builtin_plugins.workflow.starting import (
    deadline,
    drop_job,
    end_execution,
    open_children,
    overdue,
    request_cancel,
    set_timer,
)
from builtin_plugins.workflow.step_row import Place, StepRow
from builtin_plugins.workflow.step_runs import StepRuns
from builtin_plugins.workflow.step_type import StepCall
from builtin_plugins.workflow.steps.contract import Answer, Beginning, Waiting
from builtin_plugins.workflow.tables import executions
from builtin_plugins.workflow.writing import StepWriter
from nocohost import App, FenceLostError, Job, NocohostError, StoreError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

UNDO_FREE = frozenset({"delay", "wait_until", "signal"})
"""Steps that begin without anything to undo, so without a savepoint."""


class Driver:
    """Drives one execution by one job, until it ends or waits."""

    def __init__(
        self,
        app: App,
        runs: StepRuns,
        desk: tuple[Library, StepWriter],
        job: Job,
        row: ExecutionRow,
        found: tuple[Definition, Mapping[str, Step]],
        progress: Progress,
    ) -> None:
        self._app = app
        self._runs = runs
        self._forms = desk[0].forms
        self._writer = desk[1]
        self._job = job
        self._row = row
        self._definition, self._steps = found
        self._progress = progress
        self._outcomes = Outcomes(progress, self._steps)
        self._effects = Effects(app)
        self._settings = app.settings(WorkflowSettings)
        self._away = timedelta()
        self._must_look = bool(progress.rows) or row.cancel_requested
        self._is_stored_running = row.state == "running"

    @property
    def _has_effects(self) -> bool:
        return bool(self._effects.places)

    async def drive(self, pokes: Pokes, away: timedelta) -> None:
        """Go on with the execution; ``away`` is how far the database's clock is ahead of this machine's."""
        self._away = away
        now = self._now()
        if self._row.started_at is None:
            seconds = self._definition.timeout_seconds or self._settings.timeout_seconds
            self._row = replace(self._row, started_at=now, deadline_at=deadline(now, seconds))
        try:
            if await self._turn():
                return
            with pokes.heard(self._row.id, self._row.pokes) as poke:
                while True:
                    if self._has_effects and not self._must_look:
                        await self._effects.wait(poke, self._seconds_to_wake())
                    if poke.is_set():
                        poke.clear()
                        self._must_look = True
                    self._progress.now = self._now()
                    self._outcomes.end(self._effects.take_ended())
                    if await self._turn():
                        return
        finally:
            await self._effects.cancel_all()

    async def _turn(self) -> bool:
        """Write what has come and begin what follows; return True once this job is done with it."""
        self._progress.now = self._now()
        over = self._outcomes.expire(self._runs.waiting)
        first = None if self._must_look or over else self._plan()
        if first is not None and (self._is_plain(first) or self._ends_plainly(first)):
            ended = None if first.end is None else self._ended(first.end)
            await self._writer.write(self._job, self._row.id, self._progress.take_changes(), ended)
            for start in first.starts:
                self._start(start)
            return ended is not None
        async with self._writer.room, self._job.transaction() as connection:
            await self._stop(connection, over)
            end = await self._look(connection) if self._must_look else None
            self._must_look = False
            plan = Plan(end=end) if end is not None else await self._advance(connection, first)
            end = plan.end or self._forced_end()
            if end is not None:
                await self._end(connection, plan, end)
                return True
            await self._stop(connection, plan.cancelled)
            is_done = False
            starts = [start for start in plan.starts if self._runs.effect(start.step.type) is not None]
            for start in plan.starts:
                if start not in starts:
                    self._outcomes.miss(start.row)
            if starts or self._has_effects:
                await self._write(connection)
                await self._mark_running(connection)
            else:
                await self._write(connection)
                is_done = await self._release(connection)
        for start in starts:
            self._start(start)
        return is_done

    async def _look(self, connection: "AsyncConnection") -> End | None:
        """Look at what may have come from outside: a cancel, signals, jobs, tasks, executions."""
        query = select(executions.c.pokes, executions.c.cancel_requested, executions.c.reason)
        row = (await connection.execute(query.where(executions.c.id == self._row.id))).first()
        if row is None:
            raise FenceLostError(f"execution {self._row.id} is gone")
        self._row = replace(self._row, pokes=row.pokes, cancel_requested=row.cancel_requested)
        if row.cancel_requested:
            return End("cancelled", row.reason or "cancelled on request")
        waiting: dict[str, list[StepRow]] = {}
        for step in self._progress.rows.values():
            if step.state == "waiting" and not is_held(step):
                waiting.setdefault(step.type, []).append(step)
        for kind, rows in waiting.items():
            waits = self._runs.waiting[kind]
            for place, answer in (await waits.look(self._app, connection, self._row, rows)).items():
                self._outcomes.answer(self._progress.rows[place], answer)
        return None

    def _plan(self, begun: Collection[Place] = ()) -> Plan:
        return advance(
            self._definition,
            self._progress,
            self._row.trigger,
            running={*self._effects.places, *begun},
            max_steps=self._settings.max_steps,
        )

    def _is_plain(self, plan: Plan) -> bool:
        """Tell whether nothing is to be written but steps: they can share a commit with other executions."""
        goes_on = self._is_stored_running and bool(plan.starts or self._has_effects)
        if not goes_on or plan.end is not None or plan.cancelled or self._forced_end() is not None:
            return False
        return all(self._runs.effect(start.step.type) is not None for start in plan.starts)

    def _ends_plainly(self, plan: Plan) -> bool:
        """Tell whether the execution ends, and nobody has to be told or stopped."""
        row = self._row
        is_alone = row.timer is None and row.parent is None and not row.waited and not self._has_effects
        return (
            is_alone
            and plan.end is not None
            and plan.end.state == "succeeded"
            and not plan.cancelled
            and self._forced_end() is None
        )

    def _ended(self, end: End) -> ExecutionRow:
        return replace(self._row, state=end.state, reason=end.reason, output=end.output, finished_at=self._now())

    async def _advance(self, connection: "AsyncConnection", first: Plan | None = None) -> Plan:
        """Advance as far as it goes, beginning the steps that are part of this transaction."""
        starts: list[Start] = []
        cancelled: list[StepRow] = []
        while True:
            plan = first or self._plan([start.row.place for start in starts])
            first = None
            cancelled += plan.cancelled
            here = [start for start in plan.starts if start.step.type in self._runs.transactional]
            starts += [start for start in plan.starts if start.step.type not in self._runs.transactional]
            for start in here:
                await self._begin(connection, start)
            if plan.end is not None or not here:
                gone = {row.place for row in cancelled}
                kept = [start for start in starts if start.row.place not in gone]
                return Plan(kept, cancelled, plan.end)

    async def _begin(self, connection: "AsyncConnection", start: Start) -> None:
        """Begin a step within this transaction."""
        row, step = start.row, start.step
        call = self._call(start)
        if call is None:
            return
        beginning = Beginning(self._app, connection, self._row, call, self._progress.now)
        try:
            if step.type in UNDO_FREE:
                result = await self._runs.transactional[step.type].begin(beginning)
            else:
                async with connection.begin_nested():
                    result = await self._runs.transactional[step.type].begin(beginning)
        except NocohostError as error:
            if isinstance(error, StoreError) and error.retryable:
                raise
            self._outcomes.fail(row, error.code, str(error.message), retryable=getattr(error, "retryable", True))
            return
        if not isinstance(result, Waiting):
            self._outcomes.answer(row, Answer(result))
            return
        at, reference = result.wake_at, result.reference
        last = deadline(self._progress.now, step.timeout_seconds)
        if last is not None and (at is None or last < at):
            at, reference = last, reference or TOO_LONG
        self._progress.change(row, state="waiting", reference=reference, wake_at=at, error=None)

    def _start(self, start: Start) -> None:
        """Run a step beside this execution; what came of it is harvested."""
        step_type = self._runs.effect(start.step.type)
        call = self._call(start)
        if step_type is not None and call is not None:
            self._effects.start(step_type, call, start.step.timeout_seconds)
        self._must_look = self._must_look or call is None

    def _call(self, start: Start) -> StepCall | None:
        """Return what a step is given; fails the step if its params do not fit its form."""
        row = start.row
        try:
            params = self._forms[row.type].params.model_validate(row.input)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False, include_input=False)
            text = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
            self._outcomes.fail(row, "workflow.params", text, retryable=False)
            return None
        key = f"{self._row.id}:{row.path}:{row.iteration}"
        if self._row.turn:
            key = f"{key}:{self._row.turn}"
        return StepCall(self._row.id, row.path, row.iteration, row.type, params, row.attempts, key)

    def _forced_end(self) -> End | None:
        reason = overdue(self._row, self._progress.now)
        return None if reason is None else End("timed_out", reason)

    async def _end(self, connection: "AsyncConnection", plan: Plan, end: End) -> None:
        left = [*plan.cancelled, *self._progress.cancel_below("", "")]
        await self._stop(connection, left)
        await self._write(connection)
        if end.state != "succeeded":
            for child in await open_children(connection, self._row.id):
                await request_cancel(self._app, connection, child, f"its parent {end.state}")
        now = self._progress.now
        await end_execution(self._app, connection, self._row, end.state, end.reason, end.output, now=now)

    async def _stop(self, connection: "AsyncConnection", rows: Sequence[StepRow]) -> None:
        """Stop what steps run or wait for that nobody waits for any more."""
        for row in rows:
            self._effects.cancel(row.place)
            if row.state == "waiting" and row.type in self._runs.waiting and not is_held(row):
                await self._runs.waiting[row.type].stop(self._app, connection, row)

    async def _write(self, connection: "AsyncConnection") -> None:
        await write_steps(connection, [(self._row.id, *self._progress.take_changes())])

    async def _mark_running(self, connection: "AsyncConnection") -> None:
        if self._is_stored_running:
            return
        await connection.execute(
            update(executions)
            .where(executions.c.id == self._row.id)
            .values(state="running", reason=None, started_at=self._row.started_at, deadline_at=self._row.deadline_at)
        )
        self._is_stored_running = True

    async def _release(self, connection: "AsyncConnection") -> bool:
        """Give the execution up until something happens; return False if something has happened meanwhile."""
        row, at = self._row, self._wake_at()
        timer = row.timer
        if at != row.timer_at or (at is not None and timer is None):
            if at is None:
                if timer is not None:
                    await drop_job(self._app, connection, timer)
                timer = None
            else:
                timer = await set_timer(self._app, connection, row, at)
        self._row = replace(row, timer=timer, timer_at=at)
        released = await connection.execute(
            update(executions)
            .where(executions.c.id == row.id, executions.c.driver == self._job.id, executions.c.pokes == row.pokes)
            .values(
                state="waiting",
                reason=self._waits_for(),
                driver=None,
                timer=timer,
                timer_at=at,
                started_at=row.started_at,
                deadline_at=row.deadline_at,
            )
        )
        if released.rowcount:
            return True
        self._must_look = True
        await connection.execute(update(executions).where(executions.c.id == row.id).values(timer=timer, timer_at=at))
        return False

    def _waits_for(self) -> str | None:
        absent = [row for row in self._progress.rows.values() if _is_absent(row)]
        return f"waiting: step type {absent[0].type} not available" if absent else None

    def _wake_at(self) -> datetime | None:
        waits = [row.wake_at for row in self._progress.rows.values() if row.state == "waiting" and row.wake_at]
        if self._row.deadline_at is not None:
            waits.append(self._row.deadline_at)
        return min(waits, default=None)

    def _seconds_to_wake(self) -> float | None:
        at = self._wake_at()
        return None if at is None else max(0.0, (at - self._now()).total_seconds())

    def _now(self) -> datetime:
        return self._app.clock.now() + self._away


def _is_absent(row: StepRow) -> bool:
    return row.state == "waiting" and row.reference == ABSENT and is_held(row)
