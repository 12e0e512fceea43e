"""The half of workflows that only runs where ``workflow:process`` is served: jobs become drivers of executions."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update

from builtin_plugins.workflow.driver import Driver
from builtin_plugins.workflow.errors import DefinitionError, WorkflowNotFoundError
from builtin_plugins.workflow.library import Library
from builtin_plugins.workflow.outside import EXPECT, OUTSIDE
from builtin_plugins.workflow.pokes import Pokes
from builtin_plugins.workflow.progress import MIB, Progress
from builtin_plugins.workflow.records import OPEN, ExecutionRow, find_at, load_steps
from builtin_plugins.workflow.settings import WorkflowSettings
from builtin_plugins.workflow.standstill import Standstill
from builtin_plugins.workflow.starting import POKE, end_execution
from builtin_plugins.workflow.step_runs import StepRuns
from builtin_plugins.workflow.tables import executions
from builtin_plugins.workflow.writing import StepWriter
from nocohost import App, ConfigError, Job, Snooze, StoreError

AWAY_SECONDS = 1.0


class Engine:
    """Runs executions, as many at a time as the service has slots."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._library = Library(app)
        self._runs = StepRuns(app)
        self._standstill = Standstill(app, self._runs)
        self._pokes = Pokes(app)
        self._writer = StepWriter(app)
        self._max_bytes = app.settings(WorkflowSettings).max_values_mib * MIB

    @property
    def library(self) -> Library:
        """Return the workflows as they are understood here."""
        return self._library

    async def drive(self, job: Job, execution_id: str, due: datetime | None) -> Any:
        """Go on with an execution if this job is its driver, or can be; otherwise tell its driver to look."""
        try:
            return await self._drive(job, execution_id, due)
        except (StoreError, ConfigError) as error:
            if isinstance(error, StoreError) and not error.retryable:
                raise
            self._app.log.warning("workflow.store_away", execution=execution_id, reason=error.message)
            return Snooze(AWAY_SECONDS)

    async def _drive(self, job: Job, execution_id: str, due: datetime | None) -> Any:
        row, progress, away = await self._load(execution_id, due)
        if row is not None and row.is_open and row.driver != job.id:
            if not await self._take(job, execution_id):
                return None
            row, progress, away = await self._load(execution_id, due)
        if row is None or not row.is_open:
            return None
        if row.timer == job.id:
            row = replace(row, timer=None, timer_at=None)
        try:
            found = self._library.known(row.workflow, row.version)
            if found is None:
                async with self._app.database.connect() as connection:
                    found = await self._library.find(connection, row.workflow, row.version)
        except WorkflowNotFoundError as error:
            async with job.transaction() as connection:
                await end_execution(self._app, connection, row, "failed", error.message, now=progress.now)
            return None
        except DefinitionError as error:
            return None if await self._standstill.keep(job, row, progress, error) else Snooze(0)
        driver = Driver(self._app, self._runs, (self._library, self._writer), job, row, found, progress)
        await driver.drive(self._pokes, away)
        if any(step.state == "waiting" and step.type in OUTSIDE for step in progress.rows.values()):
            await self._app.signals.send(EXPECT)
        return None

    async def _load(self, execution_id: str, due: datetime | None) -> tuple[ExecutionRow | None, Progress, timedelta]:
        """Return an execution, its steps, and how far the database's clock is ahead of this machine's.

        The latter decides when a wait is over; ``due`` is an instant that has come by it.
        """
        here = self._app.clock.now()
        async with self._writer.room, self._app.database.connect() as connection:
            row, now = await find_at(connection, execution_id, here)
            steps = [] if row is None or row.started_at is None else await load_steps(connection, execution_id)
        now = now if due is None else max(now, due)
        progress = Progress(steps, node=self._app.node.name, now=now, max_bytes=self._max_bytes)
        return row, progress, now - here

    async def _take(self, job: Job, execution_id: str) -> bool:
        """Become the driver of an execution that has none; tell the one that it has."""
        async with job.transaction() as connection:
            taken = await connection.execute(
                update(executions)
                .where(executions.c.id == execution_id, executions.c.state.in_(OPEN), executions.c.driver.is_(None))
                .values(driver=job.id)
            )
            if taken.rowcount:
                return True
            await connection.execute(
                update(executions)
                .where(executions.c.id == execution_id, executions.c.state.in_(OPEN))
                .values(pokes=executions.c.pokes + 1)
            )
            await self._app.signals.send(POKE, {"id": execution_id}, connection=connection)
        return False
