"""``/api/v1/tasks/{id}/events``: server-sent events, ``state`` and ``progress``, each with the task as its data."""

import json
from asyncio import get_running_loop
from typing import Any

from aiohttp import web

from builtin_plugins.async_task.standing import Standing
from builtin_plugins.async_task.stream import Watch
from builtin_plugins.async_task.view import task_json

QUIET_SECONDS = 15.0
"""A comment is sent after so long without an event, so that proxies keep the connection."""
STREAM_SECONDS = 300.0
"""Then the stream ends, and the client comes back with its token, which may have been revoked meanwhile."""
RETRY_MILLISECONDS = 1000


async def stream_events(request: web.Request, watch: Watch, first: Standing) -> web.StreamResponse:
    """Send the task as it is, then each change of it; the stream ends with the task, or after five minutes."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    shown = task_json(first)
    await response.write(f"retry: {RETRY_MILLISECONDS}\n\n".encode() + _event("state", shown))
    if first.row.is_open and request.method != "HEAD":
        with watch.watching(first.row.id):
            await _send_changes(request, response, watch, first)
    await response.write_eof()
    return response


async def _send_changes(request: web.Request, response: web.StreamResponse, watch: Watch, first: Standing) -> None:
    time = get_running_loop().time
    end, sent_at = time() + STREAM_SECONDS, time()
    standing, shown = first, task_json(first)
    while standing.row.is_open and time() < end and not _is_leaving(request):
        found = await watch.look(first.row.id, standing)
        if found is None:
            return
        standing, new = found, task_json(found)
        if new != shown:
            await response.write(_event("state" if new["state"] != shown["state"] else "progress", new))
            shown, sent_at = new, time()
        elif time() - sent_at >= QUIET_SECONDS:
            await response.write(b": still here\n\n")
            sent_at = time()


def _event(name: str, task: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(task)}\n\n".encode()


def _is_leaving(request: web.Request) -> bool:
    """Tell whether the client has left, or the node is about to: it asks for each connection to close."""
    return request.transport is None or bool(getattr(request.protocol, "is_last_response", False))
