"""``/api/v1/nodes``: who is in the cluster."""

from aiohttp import web

from nocohost.store.census import known_nodes, node_json
from nocohost.web.gate import Gate
from nocohost.web.keys import APP
from nocohost.web.query import read_query

PATH = "/api/v1/nodes"


def add_nodes_api(gate: Gate) -> None:
    """Add the route."""
    gate.add(["GET", "HEAD"], PATH, show_nodes, permission="node.read")


async def show_nodes(request: web.Request) -> web.Response:
    """List the nodes that are known, by name; those that left go after a while."""
    read_query(request, ())
    async with request.app[APP].database.connect() as connection:
        rows = await known_nodes(connection)
    return web.json_response({"items": [node_json(row) for row in rows], "next": None})
