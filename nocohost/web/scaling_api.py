"""``/api/v1/scaling/{key}``: what an autoscaler asks, for those that cannot ask the database."""

from aiohttp import web

from nocohost.store.scaling import scaling_numbers
from nocohost.web.keys import APP
from nocohost.web.openapi import Operation
from nocohost.web.query import read_query
from nocohost.web.views import ScalingView

PATH = "/api/v1/scaling/{key}"


def scaling_operations() -> list[Operation]:
    """Return what autoscalers ask."""
    summary = "Tell how much work a key has, as the view nocohost_scaling does"
    return [Operation("GET", PATH, show_scaling, "queue.read", summary, {200: ScalingView}, problems=(400, 404))]


async def show_scaling(request: web.Request) -> web.Response:
    """Tell how much work a key has; 404 for one that nobody declares."""
    read_query(request, ())
    app, key = request.app[APP], request.match_info["key"]
    app.serving(key)  # raises UnknownKeyError, with a suggestion
    async with app.database.connect() as connection:
        numbers = await scaling_numbers(connection, key)
    return web.json_response(
        {
            "key": key,
            "runnable": numbers.runnable,
            "running": numbers.running,
            "demand": numbers.runnable + numbers.running,
            "oldest_seconds": round(numbers.oldest_seconds, 3),
        }
    )
