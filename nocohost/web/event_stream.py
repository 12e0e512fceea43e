"""Server-sent events of one thing that changes: what it is now, then each change, until it is over."""

import json
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web

QUIET_SECONDS: Final = 15.0
"""A comment is sent after so long without an event, so that proxies keep the connection."""
STREAM_SECONDS: Final = 300.0
"""Then the stream ends, and the client comes back with its token, which may have been revoked meanwhile."""
RETRY_MILLISECONDS: Final = 1000


async def stream_changes(
    request: web.Request,
    first: Mapping[str, Any],
    look: Callable[[], Awaitable[Mapping[str, Any] | None]],
    is_over: Callable[[Mapping[str, Any]], bool],
) -> web.StreamResponse:
    """Send ``first``, a JSON object with a member ``state``, then what ``look`` returns, whenever that differs.

    Each event has the object as its data; it is called ``state`` if that member has changed, else ``progress``.
    ``look`` is called again and again, and paces the stream by how long it takes; None says that there is nothing to
    look at any more. The stream ends then, once ``is_over`` says so of what was sent, after five minutes, and when
    client or node leaves. HEAD gets the first event's headers only.
    """
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    await response.write(f"retry: {RETRY_MILLISECONDS}\n\n".encode() + _event("state", first))
    time = get_running_loop().time
    end, sent_at, shown = time() + STREAM_SECONDS, time(), first
    while not is_over(shown) and request.method != "HEAD" and time() < end and not _is_leaving(request):
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


def _event(name: str, shown: Mapping[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(shown)}\n\n".encode()


def _is_leaving(request: web.Request) -> bool:
    """Tell whether the client has left, or the node is about to: it asks for each connection to close."""
    return request.transport is None or bool(getattr(request.protocol, "is_last_response", False))
