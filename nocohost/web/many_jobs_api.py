"""``/api/v1/jobs/retry``, ``cancel`` and ``drop``: many jobs at once, by what they have in common."""

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from nocohost.api.errors import UnknownKeyError
from nocohost.api.job import JobState
from nocohost.api.keys import is_key
from nocohost.store.job_filter import JobFilter, change_jobs, check_operation
from nocohost.store.keys import require_key
from nocohost.web.jobs_api import PATH, Instant
from nocohost.web.json_body import read_model
from nocohost.web.keys import APP, DECLARED, WAKE
from nocohost.web.openapi import Operation
from nocohost.web.query import read_query
from nocohost.web.views import ChangedJobsView

PROBLEMS = (400, 404, 413, 415, 422)
LIMIT = 10_000
MOST_JOBS = 100_000
"""How many jobs one request changes at most, so that its answer comes before anybody gives up waiting for it."""


class JobSelection(BaseModel):
    """The body of ``POST /api/v1/jobs/retry``, ``/cancel`` and ``/drop``: which jobs."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)

    key: str = Field(max_length=200, description="service key, noun:verb")
    state: JobState = Field(strict=False, description="the state the jobs are in")
    before: Instant | None = Field(None, description="only those that ended, or if not over were enqueued, before")
    limit: int = Field(LIMIT, ge=1, le=MOST_JOBS, description="change no more than so many; ask again for the rest")
    dry_run: bool = Field(False, description="only count them")


def many_jobs_operations() -> list[Operation]:
    """Return what can be done with many jobs at once."""
    told = (
        ("retry", retry_jobs, "Put every dead or cancelled job that fits back to pending, with all its attempts"),
        ("cancel", cancel_jobs, "Cancel every pending job that fits, or ask every running one to stop"),
        ("drop", drop_jobs, "Remove every pending or dead job that fits for good"),
    )
    return [
        Operation(
            "POST",
            f"{PATH}/{name}",
            handler,
            "job.operate",
            summary,
            {200: ChangedJobsView},
            body=JobSelection,
            problems=PROBLEMS,
        )
        for name, handler, summary in told
    ]


async def retry_jobs(request: web.Request) -> web.Response:
    """Retry many jobs."""
    return await _change(request, "retry")


async def cancel_jobs(request: web.Request) -> web.Response:
    """Cancel many jobs."""
    return await _change(request, "cancel")


async def drop_jobs(request: web.Request) -> web.Response:
    """Drop many jobs."""
    return await _change(request, "drop")


async def _change(request: web.Request, operation: str) -> web.Response:
    read_query(request, ())
    chosen = await read_model(request, JobSelection)
    check_operation(operation, chosen.state)
    if not is_key(chosen.key):
        raise UnknownKeyError(f"{chosen.key[:100]!r} is no service key", hint="a key reads noun:verb")
    database = request.app[APP].database
    async with database.connect() as connection:
        await require_key(connection, chosen.key, request.app[DECLARED].keys())
    wanted = JobFilter(chosen.key, chosen.state, chosen.before)
    told = await change_jobs(database, operation, wanted, limit=chosen.limit, dry_run=chosen.dry_run)
    if told.changed:
        request.app[WAKE](chosen.key)
    return web.json_response(told.as_json())
