"""``/api/v1/jobs``: enqueue, look, and operate on jobs."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from aiohttp import hdrs, web
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from nocohost.api.errors import JobNotFoundError
from nocohost.api.job import Job, JobState
from nocohost.api.keys import is_key
from nocohost.store.jobs import JobRow, cancel_job, drop_job, get_job, job_json, list_jobs, retry_job
from nocohost.store.nodes import is_served
from nocohost.web.gate import Gate
from nocohost.web.json_body import read_model
from nocohost.web.keys import APP
from nocohost.web.problems import RequestRefusedError
from nocohost.web.query import bad_query, is_id, page_items, read_query

PATH = "/api/v1/jobs"
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

    model_config = ConfigDict(extra="forbid", strict=True)

    key: str = Field(max_length=200, description="service key, noun:verb", examples=["shop:invoice"])
    payload: dict[str, Any] = Field(description="a JSON object that fits the job type of the key")
    idempotency_key: str | None = Field(
        None, min_length=1, max_length=255, description="the same key with the same payload returns the first job"
    )
    run_at: Instant | None = Field(None, description="not before this instant; in the past means now")
    priority: int | None = Field(None, ge=-(2**31), lt=2**31, description="lower runs first; unset: the job type's")


def add_jobs_api(gate: Gate) -> None:
    """Add the routes."""
    gate.add(["POST"], PATH, enqueue_job, permission="job.enqueue")
    gate.add(["GET", "HEAD"], PATH, show_jobs, permission="job.read")
    gate.add(["GET", "HEAD"], f"{PATH}/{{id}}", show_job, permission="job.read")
    for verb, operate in (("retry", retry_job), ("cancel", cancel_job), ("drop", drop_job)):
        gate.add(["POST"], f"{PATH}/{{id}}/{verb}", _operation(operate), permission="job.operate")


async def enqueue_job(request: web.Request) -> web.Response:
    """Make a job: 202 with it and its ``Location``."""
    new = await read_model(request, NewJob)
    app = request.app[APP]
    job = await app.queue.enqueue(
        new.key,
        new.payload,
        idempotency_key=_idempotency_key(request, new),
        run_at=new.run_at,
        priority=new.priority,
    )
    warnings = []
    async with app.database.connect() as connection:
        if not (app.serving(new.key) or await is_served(connection, new.key)):
            warnings.append({"code": "key.unserved", "message": f"no live node serves {new.key}; the job waits"})
        try:
            shown = job_json(await get_job(connection, job.id), warnings)
        except JobNotFoundError:
            shown = _gone(job)
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


def _operation(operate: Callable[[Any, str], Awaitable[JobRow]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def operation(request: web.Request) -> web.Response:
        read_query(request, ())
        job_id = _job_id(request)
        async with request.app[APP].database.begin() as connection:
            row = await operate(connection, job_id)
        # A job that runs is only asked to stop; its handler may take a moment.
        return web.json_response(job_json(row), status=202 if row.cancel_requested else 200)

    return operation


def _job_id(request: web.Request) -> str:
    text = request.match_info["id"]
    if not is_id(text):
        raise JobNotFoundError(
            f"there is no job {text[:100]!r}", hint="it may be over, and its history past its retention"
        )
    return text


def _idempotency_key(request: web.Request, new: NewJob) -> str | None:
    header = request.headers.get("Idempotency-Key")
    if header is not None and new.idempotency_key not in {None, header}:
        raise RequestRefusedError(422, "The header Idempotency-Key and idempotency_key of the body differ.")
    return new.idempotency_key if header is None else header


def _gone(job: Job) -> dict[str, Any]:
    """Return what is still known of a job whose idempotency key has outlived it."""
    message = "the first job of this idempotency key is over, and its history is gone"
    return {
        "id": job.id,
        "key": job.key,
        "state": None,
        "warnings": [{"code": "job.gone", "message": message}],
    }
