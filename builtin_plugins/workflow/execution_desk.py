"""Where executions are started, awaited, signalled, cancelled and retried: the same for HTTP and the command line."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update

from builtin_plugins.async_task import TaskDesk
from builtin_plugins.workflow import KEY
from builtin_plugins.workflow.definition import Step
from builtin_plugins.workflow.ends import Ends
from builtin_plugins.workflow.errors import (
    DefinitionError,
    ExecutionNotFoundError,
    WorkflowConflictError,
    WorkflowNotFoundError,
)
from builtin_plugins.workflow.library import Library
from builtin_plugins.workflow.outcomes import is_held
from builtin_plugins.workflow.records import ExecutionRow, find_execution, load_steps, write_steps
from builtin_plugins.workflow.retrying import rows_from, rows_of_failure
from builtin_plugins.workflow.skipped import with_skipped
from builtin_plugins.workflow.starting import (
    URGENT,
    NewExecution,
    insert_execution,
    request_cancel,
    wake,
)
from builtin_plugins.workflow.step_row import StepRow
from builtin_plugins.workflow.tables import executions, signals, steps
from builtin_plugins.workflow.versions import digest_of, enabled_version
from nocohost import App, PayloadError, StoreError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

CONNECTIONS = 6
"""For all who start and look at executions through one desk: a thousand at once wait here, in turn, and leave the
other connections to whatever else the node has to do."""
INPUT_BYTES = 1024 * 1024
CONFLICT = "store.conflict"
WARNED = 20
"""Of so many jobs and tasks that an execution waits for it is told what keeps them."""
SIGNALS = 1000
"""So many signals may wait to be taken."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An execution with its steps, and what keeps it waiting though nobody may want it to."""

    row: ExecutionRow
    steps: Sequence[StepRow]
    warnings: Sequence[Mapping[str, str]] = ()


class ExecutionDesk:
    """Starts executions and acts on them; whoever asks has the right to."""

    def __init__(self, app: App, library: Library) -> None:
        self._app = app
        self._library = library
        self._room = asyncio.Semaphore(CONNECTIONS)
        self.ends = Ends(app)

    async def start(
        self,
        name: str,
        value: Any,
        created_by: str,
        *,
        trigger_type: str = "api",
        trigger: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        waited: bool = False,
    ) -> ExecutionRow:
        """Make an execution of the enabled version; the same idempotency key with the same input returns the first.

        Raises ``WorkflowNotFoundError``, ``WorkflowConflictError`` and ``PayloadError``.
        """
        given = {"type": trigger_type, "input": value} if trigger is None else dict(trigger)
        check_value("input", given)
        request = None if idempotency_key is None else digest_of(["start", created_by, name, idempotency_key])
        try:
            return await self._start(name, given, created_by, trigger_type, request, waited=waited)
        except StoreError as error:
            if error.code != CONFLICT or request is None:
                raise
        return await self._start(name, given, created_by, trigger_type, request, waited=waited)

    async def _start(
        self, name: str, trigger: Mapping[str, Any], created_by: str, kind: str, request: str | None, *, waited: bool
    ) -> ExecutionRow:
        async with self._room, self._app.database.begin() as connection:
            number, triggered_by = await enabled_version(connection, name)
            digest = digest_of(trigger)
            if request is not None and (first := await self._repeated(connection, request, digest)):
                return first
            if triggered_by != kind:
                raise WorkflowConflictError(
                    f"{name!r} is started by {triggered_by}, not by {kind}",
                    hint="only workflows with an api trigger are started by hand",
                )
            return await insert_execution(
                self._app,
                connection,
                NewExecution(
                    name,
                    number,
                    trigger,
                    created_by,
                    request=request,
                    digest=digest,
                    waited=waited,
                ),
            )

    async def _repeated(self, connection: "AsyncConnection", request: str, digest: str) -> ExecutionRow | None:
        query = select(executions.c.id, executions.c.digest).where(executions.c.request == request)
        found = (await connection.execute(query)).first()
        if found is None:
            return None
        if found.digest != digest:
            raise WorkflowConflictError("this idempotency key came with another input before", hint="take a new key")
        return await find_execution(connection, found.id)

    async def wait(self, execution_id: str, seconds: float) -> ExecutionRow:
        """Wait until an execution has ended, at most so long, and return it; a node that serves it runs it."""
        await self.ends.wait(execution_id, seconds)
        return (await self.show(execution_id, with_steps=False)).row

    async def show(self, execution_id: str, *, with_steps: bool = True) -> Shown:
        """Return an execution; raises ``ExecutionNotFoundError``."""
        async with self._room:
            async with self._app.database.connect() as connection:
                row = await find_execution(connection, execution_id)
                if row is None:
                    raise not_found(execution_id)
                rows = await load_steps(connection, execution_id) if with_steps and row.started_at else []
            return Shown(row, rows, await self._warnings(row, rows) if with_steps and row.is_open else ())

    async def whole(self, execution_id: str) -> Shown:
        """Return an execution and its steps, those too that it passed over as far as its definition can be read."""
        shown = await self.show(execution_id)
        try:
            found = self._library.known(shown.row.workflow, shown.row.version)
            if found is None:
                async with self._room, self._app.database.connect() as connection:
                    found = await self._library.find(connection, shown.row.workflow, shown.row.version)
        except (DefinitionError, WorkflowNotFoundError):
            return shown
        return Shown(shown.row, with_skipped(shown.steps, found[1]), shown.warnings)

    async def _warnings(self, row: ExecutionRow, rows: Sequence[StepRow]) -> Sequence[Mapping[str, str]]:
        """Return what is to be said of its own job while it is queued, and of jobs and tasks that it waits for."""
        waits = [step for step in rows if step.state == "waiting" and step.reference and not is_held(step)]
        jobs = [step.reference for step in waits if step.type == "job" and step.reference][:WARNED]
        tasks = [step.reference for step in waits if step.type == "task" and step.reference][:WARNED]
        if row.state == "queued" and row.driver is not None:
            jobs.append(row.driver)
        reports = await self._app.queue.find(jobs) if jobs else {}
        told = [one for report in reports.values() for one in report.warnings]
        if tasks:
            told += await TaskDesk(self._app).warnings_of(tasks)
        return list({one["message"]: one for one in told}.values())

    async def cancel(self, execution_id: str, reason: str) -> ExecutionRow:
        """Ask an execution to end, wherever it runs; raises ``WorkflowConflictError`` for one that is over."""
        async with self._app.database.begin() as connection:
            row = await self._open(connection, execution_id)
            await request_cancel(self._app, connection, row.id, reason)
        return (await self.show(execution_id, with_steps=False)).row

    async def signal(self, execution_id: str, name: str, value: Any, sent_by: str) -> None:
        """Send a signal to an execution that is not over; a step takes it, now or when it comes to it."""
        check_value("value", value)
        async with self._app.database.begin() as connection:
            await self._open(connection, execution_id)
            query = select(func.count(), func.max(signals.c.number)).where(signals.c.execution == execution_id)
            count, last = (await connection.execute(query)).one()
            if count >= SIGNALS:
                raise WorkflowConflictError(f"{SIGNALS} signals wait to be taken", hint="its steps take one each")
            await connection.execute(
                insert(signals).values(
                    execution=execution_id,
                    name=name,
                    number=(last or 0) + 1,
                    value=value,
                    sent_by=sent_by,
                    sent_at=self._app.clock.now(),
                )
            )
            await wake(self._app, connection, execution_id)

    async def retry(self, execution_id: str, start: str | None = None) -> ExecutionRow:
        """Go on with what has failed: from there, from the step at the path ``start``, or with "" from the start.

        What had succeeded before is not run again. Raises ``WorkflowConflictError`` for one that has not failed.
        """
        async with self._app.database.begin() as connection:
            row = await self._locked(connection, execution_id)
            if row.is_open or (row.state == "succeeded" and start is None):
                raise WorkflowConflictError(f"the execution is {row.state}", hint="only what has failed is retried")
            _, index = await self._library.find(connection, row.workflow, row.version)
            await self._reset(connection, row, index, start)
            job = await self._app.queue.enqueue(KEY, {"execution": row.id}, connection=connection, priority=URGENT)
            deadline = row.deadline_at
            if deadline is not None and row.started_at is not None:
                deadline = (job.enqueued_at or self._app.clock.now()) + (deadline - row.started_at)
            await connection.execute(
                update(executions)
                .where(executions.c.id == row.id)
                .values(
                    state="queued",
                    reason=None,
                    output=None,
                    driver=job.id,
                    cancel_requested=False,
                    turn=row.turn + (start is not None),
                    deadline_at=deadline,
                    finished_at=None,
                )
            )
        return (await self.show(execution_id, with_steps=False)).row

    async def _reset(
        self, connection: "AsyncConnection", row: ExecutionRow, index: Mapping[str, Step], start: str | None
    ) -> None:
        rows = await load_steps(connection, row.id)
        if start == "":
            gone, reopened = list(rows), list[StepRow]()
        elif start is None:
            gone, reopened = rows_of_failure(rows, index)
        else:
            gone, reopened = rows_from(rows, start)
        for one in gone:
            await connection.execute(
                delete(steps).where(
                    steps.c.execution == row.id, steps.c.path == one.path, steps.c.iteration == one.iteration
                )
            )
        await write_steps(connection, [(row.id, [], reopened)])

    async def _open(self, connection: "AsyncConnection", execution_id: str) -> ExecutionRow:
        row = await self._locked(connection, execution_id)
        if not row.is_open:
            raise WorkflowConflictError(f"the execution is over: {row.state}")
        return row

    async def _locked(self, connection: "AsyncConnection", execution_id: str) -> ExecutionRow:
        query = select(executions.c.id).where(executions.c.id == execution_id).with_for_update()
        await connection.execute(query)
        row = await find_execution(connection, execution_id)
        if row is None:
            raise not_found(execution_id)
        return row


def check_value(what: str, value: Any) -> None:
    """Raise ``PayloadError`` for a value that is no JSON, or too large."""
    try:
        size = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(f"the {what} is no JSON: {error}", code="workflow.input") from error
    if size > INPUT_BYTES:
        raise PayloadError(f"the {what} has {size} bytes, at most {INPUT_BYTES}", code="workflow.input")


def not_found(execution_id: str) -> ExecutionNotFoundError:
    """Return the error for an id that is no execution's."""
    return ExecutionNotFoundError(
        f"there is no execution {execution_id[:100]!r}", hint="it may be over, and past its retention"
    )
