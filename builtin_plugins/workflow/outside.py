"""What executions wait for that does not tell them: jobs and tasks. One look for all, while any are waited for."""

import asyncio

from sqlalchemy import select

from builtin_plugins.async_task import TaskDesk
from builtin_plugins.workflow.outcomes import ABSENT, RETRY
from builtin_plugins.workflow.sight import Sight
from builtin_plugins.workflow.starting import wake
from builtin_plugins.workflow.tables import steps
from nocohost import App, ConfigError, JobState, StoreError

LOOK_SECONDS = 0.5
REST_SECONDS = 5.0
"""Between looks while none waits: a signal may be lost."""
SOON_SECONDS = 0.1
"""From a signal to the look: the job has hardly begun."""
BATCH = 500
EXPECT = "workflow.expect"
"""The signal that a step has begun to wait for a job or a task."""
OUTSIDE = ("job", "task")
"""The types of steps whose end nobody tells of."""
OPEN_STATES = (JobState.PENDING, JobState.RUNNING)


class Outside:
    """Wakes executions whose jobs or tasks are over."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._after = ("", "", "")
        self._sight = Sight(app)

    async def look_on(self) -> None:
        """Look for as long as the node runs: often while something is waited for, else when a signal says so."""
        async with self._app.signals.listen(EXPECT) as signals:
            told = asyncio.ensure_future(anext(signals))
            try:
                while True:
                    waiting = await self._looked()
                    await asyncio.wait({told}, timeout=LOOK_SECONDS if waiting else REST_SECONDS)
                    if told.done():
                        await asyncio.sleep(SOON_SECONDS)
                        told = asyncio.ensure_future(anext(signals))
            finally:
                told.cancel()

    async def _looked(self) -> bool:
        try:
            waiting = await self._look()
        except (StoreError, ConfigError) as error:  # it is away, or refuses; the next look may find it
            self._sight.lose(error)
            return True
        self._sight.regain()
        return waiting

    async def _look(self) -> bool:
        """Wake the executions of a batch of steps whose job or task is over; tell whether any step waits for one."""
        columns = (steps.c.execution, steps.c.path, steps.c.iteration, steps.c.type, steps.c.reference)
        order = columns[:3]
        query = (
            select(*columns)
            .where(steps.c.state == "waiting", steps.c.type.in_(OUTSIDE), steps.c.reference.not_in((RETRY, ABSENT)))
            .order_by(*order)
            .limit(BATCH)
        )
        execution, path, iteration = self._after
        later = (
            (steps.c.execution > execution)
            | ((steps.c.execution == execution) & (steps.c.path > path))
            | ((steps.c.execution == execution) & (steps.c.path == path) & (steps.c.iteration > iteration))
        )
        async with self._app.database.connect() as connection:
            rows = (await connection.execute(query if not execution else query.where(later))).all()
        was_first = not execution
        self._after = tuple(rows[-1][:3]) if len(rows) == BATCH else ("", "", "")
        jobs = {row.reference: row.execution for row in rows if row.type == "job"}
        tasks = {row.reference: row.execution for row in rows if row.type == "task"}
        reports = await self._app.queue.find(list(jobs)) if jobs else {}
        over = {jobs[one] for one in jobs if one not in reports or reports[one].state not in OPEN_STATES}
        if tasks:
            over |= {tasks[one] for one in await TaskDesk(self._app).find_over(list(tasks))}
        for execution_id in sorted(over):
            async with self._app.database.begin() as connection:
                await wake(self._app, connection, execution_id)
        return bool(rows) or not was_first
