"""``/api/v1/nodes``: who is in the cluster, and what people ask of a node."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web

from nocohost.store import node_orders
from nocohost.store.census import known_nodes, node_json
from nocohost.store.nodes import NodeRow
from nocohost.web.keys import APP
from nocohost.web.openapi import Operation
from nocohost.web.query import is_id, read_query
from nocohost.web.views import NodePageView, NodeView

PATH = "/api/v1/nodes"
ONE = f"{PATH}/{{id}}"
PROBLEMS = (400, 404, 409)


def node_operations() -> list[Operation]:
    """Return what can be done with nodes."""
    summary = "List the nodes that are known, by name; those that left go after a while"
    return [
        Operation("GET", PATH, show_nodes, "node.read", summary, {200: NodePageView}, problems=(400,)),
        Operation("GET", ONE, show_node, "node.read", "Show one node", {200: NodeView}, problems=(400, 404)),
        Operation(
            "POST",
            f"{ONE}/quiet",
            quiet_node,
            "node.operate",
            "Let a node claim nothing more; its jobs go on, and it answers requests",
            {200: NodeView},
            problems=PROBLEMS,
        ),
        Operation(
            "POST",
            f"{ONE}/resume",
            resume_node,
            "node.operate",
            "Let a quiet node claim again",
            {200: NodeView},
            problems=PROBLEMS,
        ),
        Operation(
            "POST",
            f"{ONE}/stop",
            stop_node,
            "node.operate",
            "Ask a node to drain and to end, at its next heartbeat",
            {202: NodeView},
            problems=PROBLEMS,
        ),
    ]


async def show_nodes(request: web.Request) -> web.Response:
    """List the nodes that are known, by name."""
    read_query(request, ())
    async with request.app[APP].database.connect() as connection:
        rows = await known_nodes(connection)
    return web.json_response({"items": [node_json(row) for row in rows], "next": None})


async def show_node(request: web.Request) -> web.Response:
    """Show one node."""
    read_query(request, ())
    node_id = _node_id(request)
    async with request.app[APP].database.connect() as connection:
        rows = await known_nodes(connection, node_id)
    if not rows:
        raise node_orders.not_found(node_id)
    return web.json_response(node_json(rows[0]))


async def quiet_node(request: web.Request) -> web.Response:
    """Make a node quiet."""
    return web.json_response(node_json(await _order(request, node_orders.quiet_node)))


async def resume_node(request: web.Request) -> web.Response:
    """Let a quiet node claim again."""
    return web.json_response(node_json(await _order(request, node_orders.resume_node)))


async def stop_node(request: web.Request) -> web.Response:
    """Ask a node to stop: 202, and its ``Location``."""
    row = await _order(request, node_orders.stop_node)
    return web.json_response(node_json(row), status=202, headers={hdrs.LOCATION: f"{PATH}/{row.id}"})


async def _order(request: web.Request, order: Callable[[Any, str], Awaitable[NodeRow]]) -> NodeRow:
    read_query(request, ())
    node_id = _node_id(request)
    async with request.app[APP].database.begin() as connection:
        return await order(connection, node_id)


def _node_id(request: web.Request) -> str:
    text = request.match_info["id"]
    if not is_id(text):
        raise node_orders.not_found(text[:100])
    return text
