"""A task whose kind this node does not have, as in a rolling upgrade: it waits for a node that has it, and says so."""

from sqlalchemy import ColumnElement, and_, select, update

from builtin_plugins.async_task.tables import tasks
from builtin_plugins.async_task.task import CHANGED
from nocohost import BlockingApp, BlockingJob, Snooze

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
"""Between claims while no node that claims the task has its kind; each pause is twice the one before."""


def is_ours(job: BlockingJob, task_id: str) -> "ColumnElement[bool]":
    """Select the task if it is still to be run by this job."""
    return and_(tasks.c.id == task_id, tasks.c.job_id == job.id, tasks.c.state != "succeeded")


def keep(job: BlockingJob, app: BlockingApp, task_id: str) -> Snooze | None:
    """Leave a task pending whose kind is not here, uncharged; None if it is no longer this job's to run."""
    with job.transaction() as connection:
        query = select(tasks.c.kind, tasks.c.error, tasks.c.fence).where(is_ours(job, task_id))
        row = connection.execute(query).first()
        if row is None:
            return None
        reason = _reason(app.node.name, row.kind)
        is_news = row.error != reason
        if is_news:
            change = update(tasks).where(tasks.c.id == task_id)
            connection.execute(change.values(state="pending", error=reason))
    if row.error is None:
        app.log.warning("task.waiting", task=task_id, reason=reason)
    if is_news:
        app.wait(app.signals.send(CHANGED, {"id": task_id}))
    return Snooze(pause_seconds(job.fence - row.fence))


def pause_seconds(claims: int) -> float:
    """Return how long a task waits after so many claims that could not run it."""
    doublings = min(max(claims, 1) - 1, 16)
    return min(FIRST_SECONDS * (1 << doublings), LONGEST_SECONDS)


def _reason(node: str, kind: str) -> str:
    why = "nocohost plugins list, on that node, shows what is installed and what is quarantined"
    return f"no active plugin of node {node} runs tasks of kind {kind}; it waits for a node that does; {why}"
