"""``/api/v1/schedules``: look at schedules, run one now, pause and resume them."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web

from nocohost.api.keys import is_key
from nocohost.store import schedules as stored
from nocohost.store.jobs import show_enqueued
from nocohost.store.schedules import ScheduleRow, schedule_json
from nocohost.web.jobs_api import PATH as JOBS_PATH
from nocohost.web.keys import APP, RETIME
from nocohost.web.openapi import Operation, Parameter
from nocohost.web.query import MAX_PAGE_ITEMS, bad_query, page_items, read_query
from nocohost.web.views import JobView, SchedulePageView, ScheduleView

PATH = "/api/v1/schedules"
ONE = f"{PATH}/{{name}}"
PROBLEMS = (400, 404)
LIST_PARAMETERS = ("key", "after", "limit")


def schedule_operations() -> list[Operation]:
    """Return what can be done with schedules."""
    return [
        Operation(
            "GET",
            PATH,
            show_schedules,
            "schedule.read",
            "List schedules by name, those in code and those in the database",
            {200: SchedulePageView},
            parameters=[
                Parameter("key", "only schedules of this service key"),
                Parameter("after", "next of the page before"),
                Parameter("limit", "schedules on a page", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_ITEMS}),
            ],
            problems=(400,),
        ),
        Operation(
            "POST",
            f"{ONE}/run",
            run_schedule,
            "schedule.operate",
            "Make one job of a schedule now, beside its ticks",
            {202: JobView},
            problems=(*PROBLEMS, 422),
        ),
        Operation(
            "POST",
            f"{ONE}/pause",
            pause_schedule,
            "schedule.operate",
            "Let a schedule make no more jobs until it is resumed",
            {200: ScheduleView},
            problems=PROBLEMS,
        ),
        Operation(
            "POST",
            f"{ONE}/resume",
            resume_schedule,
            "schedule.operate",
            "Let a paused schedule tick again from now on",
            {200: ScheduleView},
            problems=PROBLEMS,
        ),
    ]


async def show_schedules(request: web.Request) -> web.Response:
    """List schedules by name."""
    query = read_query(request, LIST_PARAMETERS)
    key = query.get("key")
    if key is not None and not is_key(key):
        raise bad_query(f"{key[:100]!r} is no service key", "a key reads noun:verb")
    limit = page_items(query.get("limit"))
    async with request.app[APP].database.connect() as connection:
        page = await stored.list_schedules(connection, key=key, limit=limit, after=query.get("after"))
    return web.json_response({"items": [schedule_json(row) for row in page.items], "next": page.next})


async def run_schedule(request: web.Request) -> web.Response:
    """Make one job now: 202 with it and its ``Location``."""
    read_query(request, ())
    app = request.app[APP]
    name = _name(request)
    async with app.database.connect() as connection:
        row = await stored.get_schedule(connection, name)
    job = await app.queue.enqueue(row.key, row.payload)
    shown = await show_enqueued(app.database, job)
    return web.json_response(shown, status=202, headers={hdrs.LOCATION: f"{JOBS_PATH}/{job.id}"})


async def pause_schedule(request: web.Request) -> web.Response:
    """Pause a schedule."""
    return await _operate(request, stored.pause_schedule)


async def resume_schedule(request: web.Request) -> web.Response:
    """Resume a schedule, and have the nodes that fire it look for its next tick."""
    answer = await _operate(request, stored.resume_schedule)
    request.app[RETIME](_name(request))
    return answer


async def _operate(request: web.Request, operate: Callable[[Any, str], Awaitable[ScheduleRow]]) -> web.Response:
    read_query(request, ())
    name = _name(request)
    async with request.app[APP].database.begin() as connection:
        row = await operate(connection, name)
    return web.json_response(schedule_json(row))


def _name(request: web.Request) -> str:
    text = request.match_info["name"]
    if not text.isprintable():
        raise stored.not_found(text)
    return text
