"""``/api/v1/coverage`` and ``/api/v1/queues``: who serves which key, what waits, and pauses of a whole key."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import hdrs, web
from pydantic import BaseModel, ConfigDict, Field

from nocohost.api.errors import UnknownKeyError
from nocohost.api.keys import is_key
from nocohost.store.coverage import coverage_json, queue_json, read_coverage
from nocohost.store.keys import DRAIN_SECONDS, drain_key, pause_key, require_key, resume_key
from nocohost.web.json_body import read_model
from nocohost.web.keys import APP, DECLARED, PRINCIPAL, WAKE
from nocohost.web.openapi import Operation
from nocohost.web.query import read_query
from nocohost.web.views import CoveragePageView, QueuePageView, QueueView

COVERAGE = "/api/v1/coverage"
PATH = "/api/v1/queues"
ONE = f"{PATH}/{{key}}"
PROBLEMS = (400, 404)


class Drain(BaseModel):
    """The body of ``POST /api/v1/queues/{key}/drain``."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)

    within_seconds: float = Field(
        DRAIN_SECONDS, ge=0, le=86_400, allow_inf_nan=False, description="what runs after that is released, uncharged"
    )


def queue_operations() -> list[Operation]:
    """Return what can be done with the queue of a service key."""
    return [
        Operation(
            "GET",
            COVERAGE,
            show_coverage,
            "queue.read",
            "Tell for each service key which live nodes serve it, and how much work waits",
            {200: CoveragePageView},
            problems=(400,),
        ),
        Operation(
            "GET",
            PATH,
            show_queues,
            "queue.read",
            "List the queue of each service key",
            {200: QueuePageView},
            problems=(400,),
        ),
        Operation("GET", ONE, show_queue, "queue.read", "Show one queue", {200: QueueView}, problems=PROBLEMS),
        Operation(
            "POST",
            f"{ONE}/pause",
            pause_queue,
            "queue.operate",
            "Let no node claim the key; what runs goes on",
            {200: QueueView},
            problems=PROBLEMS,
        ),
        Operation(
            "POST",
            f"{ONE}/resume",
            resume_queue,
            "queue.operate",
            "Let the nodes claim the key again",
            {200: QueueView},
            problems=PROBLEMS,
        ),
        Operation(
            "POST",
            f"{ONE}/drain",
            drain_queue,
            "queue.operate",
            "Pause the key, and release what still runs of it after a while",
            {202: QueueView},
            body=Drain,
            problems=(400, 404, 413, 415, 422),
        ),
    ]


async def show_coverage(request: web.Request) -> web.Response:
    """Show who serves what."""
    read_query(request, ())
    async with request.app[APP].database.connect() as connection:
        found = await read_coverage(connection, _declared(request))
    return web.json_response({"items": [coverage_json(one) for one in found], "next": None})


async def show_queues(request: web.Request) -> web.Response:
    """Show every queue."""
    read_query(request, ())
    async with request.app[APP].database.connect() as connection:
        found = await read_coverage(connection, _declared(request))
    return web.json_response({"items": [queue_json(one) for one in found], "next": None})


async def show_queue(request: web.Request) -> web.Response:
    """Show one queue."""
    read_query(request, ())
    return web.json_response(await _queue(request, _key(request)))


async def pause_queue(request: web.Request) -> web.Response:
    """Pause a key, in the name of whoever asks."""
    by = request[PRINCIPAL].id
    return web.json_response(await _operate(request, lambda connection, key: pause_key(connection, key, by)))


async def resume_queue(request: web.Request) -> web.Response:
    """Let a paused key go on."""
    told = await _operate(request, resume_key)
    request.app[WAKE](_key(request))
    return web.json_response(told)


async def drain_queue(request: web.Request) -> web.Response:
    """Drain a key, in the name of whoever asks: 202, and its ``Location``."""
    seconds = (await read_model(request, Drain)).within_seconds
    by = request[PRINCIPAL].id
    told = await _operate(request, lambda connection, key: drain_key(connection, key, by, within_seconds=seconds))
    return web.json_response(told, status=202, headers={hdrs.LOCATION: f"{PATH}/{told['key']}"})


async def _operate(request: web.Request, operate: Callable[[Any, str], Awaitable[object]]) -> dict[str, Any]:
    read_query(request, ())
    key = _key(request)
    async with request.app[APP].database.begin() as connection:
        await require_key(connection, key, _declared(request))
        await operate(connection, key)
    return await _queue(request, key)


async def _queue(request: web.Request, key: str) -> dict[str, Any]:
    declared = _declared(request)
    async with request.app[APP].database.connect() as connection:
        await require_key(connection, key, declared)
        found = await read_coverage(connection, {key: "", **declared})
    return next(queue_json(one) for one in found if one.key == key)


def _key(request: web.Request) -> str:
    text = request.match_info["key"]
    if not is_key(text):
        raise UnknownKeyError(f"{text[:100]!r} is no service key", hint="a key reads noun:verb")
    return text


def _declared(request: web.Request) -> Mapping[str, str]:
    return request.app[DECLARED]
