"""The routes of plugins, added to the gate as they were checked by activation."""

from collections.abc import Sequence
from urllib.parse import unquote

from aiohttp import hdrs, web

from nocohost.api.errors import PluginContractError
from nocohost.api.routes import Route
from nocohost.plugins.paths import claim_of
from nocohost.web.gate import Gate, Handler
from nocohost.web.openapi import Operation, Parameter
from nocohost.web.problems import RequestRefusedError


def add_plugin_routes(gate: Gate, routes: Sequence[tuple[str, Route]]) -> None:
    """Add the routes of plugins, each with the permission it asks; ``GET`` answers ``HEAD`` too.

    Activation has checked them; what it let through and aiohttp does not take raises ``PluginContractError``.
    """
    claimed = {claim_of(route) for _, route in routes}
    for plugin, route in routes:
        if route.api is not None:
            continue  # an operation of the API
        where = f"{plugin}: route {route.method} {route.path}"
        if bool(route.permission) == route.public:
            raise PluginContractError(f"{where} says not who may call it")
        methods = [route.method]
        if route.method == hdrs.METH_GET and (hdrs.METH_HEAD, claim_of(route)[1]) not in claimed:
            methods.append(hdrs.METH_HEAD)
        try:
            gate.add(methods, route.path, _outside_api(route.handler, route.path), permission=route.permission)
        except (ValueError, RuntimeError) as error:
            raise PluginContractError(f"{where}: {error}") from error


def plugin_operations(routes: Sequence[tuple[str, Route]]) -> list[Operation]:
    """Return the routes under ``/api/v1`` of the services that come with the host, as operations of the API."""
    return [
        Operation(
            route.method,
            route.path,
            route.handler,
            route.permission,
            route.api.summary,
            route.api.answers,
            bodies=route.api.bodies,
            parameters=[Parameter(one.name, one.description, one.schema, one.place) for one in route.api.parameters],
            problems=route.api.problems,
            name=route.api.name,
        )
        for _, route in routes
        if route.api is not None
    ]


def _outside_api(handler: Handler, path: str) -> Handler:
    """Keep a path whose variable could stand for ``/api``, as in ``/{tail:.*}``, from answering there."""
    before, brace, _ = path.partition("{")
    if not (brace and "/api/".startswith(unquote(before))):
        return handler

    async def outside_api(request: web.Request) -> web.StreamResponse:
        if request.path == "/api" or request.path.startswith("/api/"):
            raise RequestRefusedError(404, "There is nothing at this path.")
        return await handler(request)

    return outside_api
