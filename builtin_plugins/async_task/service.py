"""``async-task:process``: runs tasks, each in a child of its own; loaded only on nodes that serve it, and there."""

from typing import Any

from builtin_plugins.async_task import KEY
from builtin_plugins.async_task.attempt import perform
from builtin_plugins.async_task.cores import usable_cores
from builtin_plugins.async_task.retention import tidy
from builtin_plugins.async_task.settings import TaskSettings
from nocohost import App, BlockingApp, BlockingJob, Schedule, Service, hookimpl

TIDY_SECONDS = 600.0


def process(job: BlockingJob, app: BlockingApp) -> Any:
    """Run one task, or tidy up after those that are over."""
    if job.payload.task is None:
        return {"removed": app.wait(tidy(app.awaited))}
    return perform(job, app, job.payload.task)


@hookimpl
def register_services(app: App) -> list[Service | Schedule]:
    """Offer ``async-task:process``, and have it tidy up."""
    settings = app.settings(TaskSettings)
    return [
        Service(
            KEY,
            process,
            concurrency=settings.concurrency or usable_cores(),
            isolation="process",
            memory_mib=settings.memory_mib,
            on_crash="fail",
        ),
        Schedule("async-task.tidy", KEY, {}, interval_seconds=TIDY_SECONDS, catch_up="once"),
    ]
