"""``/api/v1/nodes``: who is in the cluster."""

from aiohttp import web

from nocohost.store.census import known_nodes, node_json
from nocohost.web.keys import APP
from nocohost.web.openapi import Operation
from nocohost.web.query import read_query
from nocohost.web.views import NodePageView

PATH = "/api/v1/nodes"


def node_operations() -> list[Operation]:
    """Return what can be done with nodes."""
    summary = "List the nodes that are known, by name; those that left go after a while"
    return [Operation("GET", PATH, show_nodes, "node.read", summary, {200: NodePageView}, problems=(400,))]


async def show_nodes(request: web.Request) -> web.Response:
    """List the nodes that are known, by name."""
    read_query(request, ())
    async with request.app[APP].database.connect() as connection:
        rows = await known_nodes(connection)
    return web.json_response({"items": [node_json(row) for row in rows], "next": None})
