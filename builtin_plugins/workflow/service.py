"""``workflow:process``: runs executions; loaded only on nodes that serve it, and there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from builtin_plugins.workflow import KEY
from builtin_plugins.workflow.engine import Engine
from builtin_plugins.workflow.outside import Outside
from builtin_plugins.workflow.retention import tidy
from builtin_plugins.workflow.settings import WorkflowSettings
from builtin_plugins.workflow.triggers import start_by_change, start_by_tick
from nocohost import App, Backoff, Job, Schedule, Service, hookimpl

TIDY_SECONDS = 60.0
BACKOFF = Backoff(seconds=0.2, cap_seconds=10.0)


@hookimpl
def register_services(app: App) -> list[Service | Schedule]:
    """Offer ``workflow:process``, and have it tidy up."""
    settings = app.settings(WorkflowSettings)
    engine = Engine(app)

    async def process(job: Job, app: App) -> Any:
        payload = job.payload
        if payload.execution is not None:
            return await engine.drive(job, payload.execution, payload.due)
        if payload.resource is not None:
            return await start_by_change(job, app, engine.library)
        if payload.workflow is not None:
            return await start_by_tick(job, app, engine.library)
        return await tidy(app)

    return [
        Service(KEY, process, concurrency=settings.concurrency, on_crash="fail", backoff=BACKOFF),
        Schedule("workflow-process.tidy", KEY, {}, interval_seconds=TIDY_SECONDS, catch_up="once"),
    ]


@hookimpl
@asynccontextmanager
async def node_lifespan(app: App) -> AsyncIterator[None]:
    """Look, while the node runs, for jobs and tasks that executions wait for."""
    looking = asyncio.create_task(Outside(app).look_on(), name="look for what workflows wait for")
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait({looking})
