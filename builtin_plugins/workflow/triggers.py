"""Executions that nobody asks for: started by a change of a record, or by the clock, on nodes that run workflows."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from builtin_plugins.workflow.definition import Definition
from builtin_plugins.workflow.errors import ExpressionError, WorkflowNotFoundError
from builtin_plugins.workflow.library import Library
from builtin_plugins.workflow.outline import ScheduleTrigger
from builtin_plugins.workflow.starting import NewExecution, insert_execution
from builtin_plugins.workflow.tables import executions, versions
from builtin_plugins.workflow.versions import digest_of, enabled_version
from builtin_plugins.workflow.workflow_desk import trigger_name
from nocohost import App, Job

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

SYSTEM = "workflow:process"
"""Who has created executions that nobody asked for."""


async def start_by_change(job: Job, app: App, library: Library) -> Mapping[str, Any]:
    """Start an execution for each record that changed, if the workflow wants it; once, however often this runs."""
    payload = job.payload
    name = str(payload.data.get("workflow", ""))
    started = 0
    async with job.transaction() as connection:
        found = await _enabled(connection, library, name, "resource")
        if found is None:
            return {"started": 0}
        number, definition = found
        for place, change in enumerate(payload.records):
            trigger = {
                "type": "resource",
                "resource": payload.resource,
                "event": payload.event,
                "record": change.get("after") or change.get("before"),
                "before": change.get("before"),
            }
            if wanted(app, definition, trigger):
                started += await start_once(app, connection, name, number, trigger, f"change:{name}:{job.id}:{place}")
    return {"started": started}


async def start_by_tick(job: Job, app: App, library: Library) -> Mapping[str, Any]:
    """Start the execution of one tick of a schedule, within its start, end and limit.

    What counts is the instant of the tick, however long after it the job was made.
    """
    name = job.payload.workflow
    at = await app.schedules.tick_of(trigger_name(name), job.id) or job.enqueued_at or app.clock.now()
    async with job.transaction() as connection:
        found = await _enabled(connection, library, name, "schedule")
        if found is None:
            return {"started": 0}
        number, definition = found
        fields = ScheduleTrigger.model_validate({"type": "schedule", **definition.trigger.params})
        what = f"tick:{name}:{job.id}"
        if not fields.covers(at) or await _is_started(connection, digest_of(what)):
            return {"started": 0}
        if not await _counted(connection, name, number, fields.limit):
            return {"started": 0}
        trigger = {"type": "schedule", "at": at.isoformat().replace("+00:00", "Z")}
        return {"started": await start_once(app, connection, name, number, trigger, what)}


def wanted(app: App, definition: Definition, trigger: Mapping[str, Any]) -> bool:
    """Tell whether the ``when`` of a trigger holds; one that cannot be evaluated does not, and is logged."""
    if definition.trigger.when is None:
        return True
    try:
        return definition.trigger.when.evaluate({"trigger": trigger}) is True
    except ExpressionError as error:
        app.log.warning("workflow.when_failed", workflow=definition.name, reason=error.message)
        return False


async def start_once(
    app: App,
    connection: "AsyncConnection",
    name: str,
    number: int,
    trigger: Mapping[str, Any],
    what: str,
) -> int:
    """Start an execution unless the one for ``what`` has been started; return how many were."""
    request = digest_of(what)
    if await _is_started(connection, request):
        return 0
    new = NewExecution(name, number, trigger, SYSTEM, request=request)
    await insert_execution(app, connection, new)
    return 1


async def _enabled(
    connection: "AsyncConnection", library: Library, name: str, kind: str
) -> tuple[int, Definition] | None:
    try:
        number, triggered_by = await enabled_version(connection, name)
    except WorkflowNotFoundError:
        return None
    if triggered_by != kind:
        return None
    definition, _ = await library.find(connection, name, number)
    return number, definition


async def _is_started(connection: "AsyncConnection", request: str) -> bool:
    query = select(executions.c.id).where(executions.c.request == request)
    return (await connection.execute(query)).first() is not None


async def _counted(connection: "AsyncConnection", name: str, number: int, limit: int | None) -> bool:
    """Count an execution for the limit of its version, which outlives the execution; return False beyond the limit."""
    change = update(versions).where(versions.c.name == name, versions.c.number == number)
    if limit is not None:
        change = change.where(versions.c.ticks < limit)
    return (await connection.execute(change.values(ticks=versions.c.ticks + 1))).rowcount == 1
