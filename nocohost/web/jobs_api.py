"""``/api/v1/jobs``: enqueue, look, and operate on jobs."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from aiohttp import hdrs, web
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from nocohost.api.job import JobState
from nocohost.api.keys import is_key
from nocohost.store.brief import write_briefly
from nocohost.store.explain import explain_job
from nocohost.store.jobs import (
    JobRow,
    cancel_job,
    drop_job,
    get_job,
    job_json,
    list_jobs,
    retry_job,
    show_enqueued,
    unreadable_id,
)
from nocohost.web.json_body import read_model
from nocohost.web.keys import APP, DECLARED, WAKE
from nocohost.web.openapi import Operation, Parameter
from nocohost.web.problems import RequestRefusedError
from nocohost.web.query import MAX_PAGE_ITEMS, bad_query, is_id, page_items, read_query
from nocohost.web.views import ExplanationView, JobPageView, JobView

PATH = "/api/v1/jobs"
ONE = f"{PATH}/{{id}}"
OPERATE_PROBLEMS = (400, 404, 409)
LIST_PARAMETERS = ("key", "state", "after", "limit")


def _must_be_text(value: Any) -> Any:
    if isinstance(value, str):
        return value
    raise ValueError("Input should be an RFC 3339 instant such as 2026-01-31T08:00:00Z")


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("Input is outside the years that can be") from None


Instant = Annotated[AwareDatetime, BeforeValidator(_must_be_text), AfterValidator(_in_utc), Field(strict=False)]


class NewJob(BaseModel):
    """The body of ``POST /api/v1/jobs``."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)

    key: str = Field(max_length=200, description="service key, noun:verb", examples=["shop:invoice"])
    payload: dict[str, Any] = Field(description="a JSON object that fits the job type of the key")
    idempotency_key: str | None = Field(
        None, min_length=1, max_length=255, description="the same key with the same payload returns the first job"
    )
    run_at: Instant | None = Field(None, description="not before this instant; in the past means now")
    priority: int | None = Field(None, ge=-(2**31), lt=2**31, description="lower runs first; unset: the job type's")
    group: str | None = Field(
        None, min_length=1, max_length=255, description="jobs of one group of a key run one at a time, in order"
    )


def job_operations() -> list[Operation]:
    """Return what can be done with jobs."""
    return [
        Operation(
            "POST",
            PATH,
            enqueue_job,
            "job.enqueue",
            "Enqueue a job",
            {202: JobView},
            body=NewJob,
            parameters=[Parameter("Idempotency-Key", "the same as idempotency_key of the body", place="header")],
            problems=(400, 404, 409, 413, 415, 422),
        ),
        Operation(
            "GET",
            PATH,
            show_jobs,
            "job.read",
            "List jobs, newest first, those that are over included",
            {200: JobPageView},
            parameters=[
                Parameter("key", "only jobs of this service key"),
                Parameter("state", "only jobs in this state", {"type": "string", "enum": list(JobState)}),
                Parameter("after", "next of the page before"),
                Parameter("limit", "jobs on a page", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_ITEMS}),
            ],
            problems=(400,),
        ),
        *_operations_of_one(),
    ]


def _operations_of_one() -> list[Operation]:
    return [
        Operation("GET", ONE, show_job, "job.read", "Show one job", {200: JobView}, problems=(400, 404)),
        Operation(
            "GET",
            f"{ONE}/explain",
            explain,
            "job.read",
            "Say why a job is not running, or where it is, with what to do about it",
            {200: ExplanationView},
            problems=(400, 404),
        ),
        Operation(
            "POST",
            f"{ONE}/retry",
            retry,
            "job.operate",
            "Put a dead or cancelled job back to pending, with all its attempts",
            {200: JobView},
            problems=OPERATE_PROBLEMS,
        ),
        Operation(
            "POST",
            f"{ONE}/cancel",
            cancel,
            "job.operate",
            "Cancel a pending job, or ask a running one to stop",
            {200: JobView, 202: JobView},
            problems=OPERATE_PROBLEMS,
        ),
        Operation(
            "POST",
            f"{ONE}/drop",
            drop,
            "job.operate",
            "Remove a pending or dead job for good",
            {200: JobView},
            problems=OPERATE_PROBLEMS,
        ),
    ]


async def enqueue_job(request: web.Request) -> web.Response:
    """Make a job: 202 with it and its ``Location``."""
    read_query(request, ())
    new = await read_model(request, NewJob)
    app = request.app[APP]
    job = await app.queue.enqueue(
        new.key,
        new.payload,
        idempotency_key=_idempotency_key(request, new),
        run_at=new.run_at,
        priority=new.priority,
        group=new.group,
    )
    shown = await show_enqueued(app.database, job)
    return web.json_response(shown, status=202, headers={hdrs.LOCATION: f"{PATH}/{job.id}"})


async def show_jobs(request: web.Request) -> web.Response:
    """List jobs, newest first, those that are over included."""
    query = read_query(request, LIST_PARAMETERS)
    key, state, after = query.get("key"), query.get("state"), query.get("after")
    if key is not None and not is_key(key):
        raise bad_query(f"{key[:100]!r} is no service key", "a key reads noun:verb")
    if state is not None and state not in set(JobState):
        raise bad_query(f"{state[:100]!r} is no state", f"one of: {', '.join(JobState)}")
    if after is not None and not is_id(after):
        raise bad_query("after is no cursor", "take it from next of the page before")
    limit = page_items(query.get("limit"))
    async with request.app[APP].database.connect() as connection:
        page = await list_jobs(connection, key=key, state=state, limit=limit, after=after)
    return web.json_response({"items": [job_json(row) for row in page.items], "next": page.next})


async def show_job(request: web.Request) -> web.Response:
    """Show one job, whether it is over or not."""
    read_query(request, ())
    async with request.app[APP].database.connect() as connection:
        row = await get_job(connection, _job_id(request))
    return web.json_response(job_json(row))


async def explain(request: web.Request) -> web.Response:
    """Explain where one job stands."""
    read_query(request, ())
    async with request.app[APP].database.connect() as connection:
        told = await explain_job(connection, _job_id(request), request.app[DECLARED])
    return web.json_response(told.as_json())


async def retry(request: web.Request) -> web.Response:
    """Retry a job."""
    return await _operate(request, retry_job)


async def cancel(request: web.Request) -> web.Response:
    """Cancel a job; one that runs is only asked to stop, and its handler may take a moment: 202."""
    return await _operate(request, cancel_job)


async def drop(request: web.Request) -> web.Response:
    """Drop a job, and show what it was."""
    return await _operate(request, drop_job)


async def _operate(request: web.Request, operate: Callable[[Any, str], Awaitable[JobRow]]) -> web.Response:
    read_query(request, ())
    job_id = _job_id(request)
    row = await write_briefly(request.app[APP].database, lambda connection: operate(connection, job_id))
    request.app[WAKE](row.key)
    if not row.cancel_requested:
        return web.json_response(job_json(row))
    return web.json_response(job_json(row), status=202, headers={hdrs.LOCATION: f"{PATH}/{job_id}"})


def _job_id(request: web.Request) -> str:
    text = request.match_info["id"]
    if not is_id(text):
        raise unreadable_id(text)
    return text


def _idempotency_key(request: web.Request, new: NewJob) -> str | None:
    header = request.headers.get("Idempotency-Key")
    if header is not None and new.idempotency_key not in {None, header}:
        raise RequestRefusedError(422, "The header Idempotency-Key and idempotency_key of the body differ.")
    return new.idempotency_key if header is None else header
