"""``/api/v1/executions/{id}/events``: server-sent events, ``state`` and ``progress``, each with the execution."""

import asyncio
import json
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

QUIET_SECONDS = 15.0
"""A comment is sent after so long without an event, so that proxies keep the connection."""
STREAM_SECONDS = 300.0
"""Then the stream ends, and the client comes back with its token, which may have been revoked meanwhile."""
RETRY_MILLISECONDS = 1000
LOOK_SECONDS = 0.5
OPEN = ("queued", "running", "waiting")


async def stream_events(
    request: web.Request, first: dict[str, Any], look: Callable[[], Awaitable[dict[str, Any] | None]]
) -> web.StreamResponse:
    """Send the execution as it is, then each change of it; the stream ends with it, or after five minutes."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    await response.write(f"retry: {RETRY_MILLISECONDS}\n\n".encode() + _event("state", first))
    time = get_running_loop().time
    end, sent_at, shown = time() + STREAM_SECONDS, time(), first
    while shown["state"] in OPEN and request.method != "HEAD" and time() < end and not _is_leaving(request):
        await asyncio.sleep(LOOK_SECONDS)
        new = await look()
        if new is None:
            break
        if new != shown:
            await response.write(_event("state" if new["state"] != shown["state"] else "progress", new))
            shown, sent_at = new, time()
        elif time() - sent_at >= QUIET_SECONDS:
            await response.write(b": still here\n\n")
            sent_at = time()
    await response.write_eof()
    return response


def _event(name: str, execution: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(execution)}\n\n".encode()


def _is_leaving(request: web.Request) -> bool:
    """Tell whether the client has left, or the node is about to: it asks for each connection to close."""
    return request.transport is None or bool(getattr(request.protocol, "is_last_response", False))
