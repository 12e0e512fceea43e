"""The request as plugin routes get it: aiohttp's, with an id, a strict ``json()`` and our headers on its response."""

import itertools
import secrets
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from aiohttp import MultipartReader, hdrs, web
from aiohttp.http import StreamWriter

from nocohost.web.body_room import SMALL_BYTES, BodyRoom
from nocohost.web.charset import FormPart, is_charset
from nocohost.web.headers import protect
from nocohost.web.json_body import strict_loads
from nocohost.web.problems import RequestRefusedError

LOGGED_ID: ContextVar[str] = ContextVar("structlog_request_id")
"""What ``bind_contextvars(request_id=...)`` would set, at a sixth of its cost: every line logged on behalf of a request
has its id."""


class NodeRequest(web.Request):
    """One request to a node."""

    ATTRS = web.Request.ATTRS | frozenset({"body_room", "held_bytes", "request_id"})

    request_id: str = ""
    """Names the request in the log, in ``X-Request-Id`` and in problems."""

    body_room: BodyRoom | None = None
    held_bytes = 0
    """What its body takes of the room; given back by ``give_back``."""

    async def read(self) -> bytes:
        """Return the whole body, once there is room for it; raises 413 where it is too large."""
        if self._read_bytes is None and self.body_room is not None and not self.held_bytes:
            limit = self.client_max_size
            size = limit if self.content_length is None else self.content_length
            if size > limit:
                raise web.HTTPRequestEntityTooLarge(limit, size)
            if size > SMALL_BYTES and self.body_exists:
                await self.body_room.take(size)
                self.held_bytes = size
        return await super().read()

    def give_back(self) -> None:
        """Let others have the room that the body took."""
        if self.held_bytes and self.body_room is not None:
            self.body_room.give(self.held_bytes)
            self.held_bytes = 0

    @property
    def charset(self) -> str | None:
        """Return the charset that the body names; None for a codec of Python's that is none."""
        named = super().charset
        return named if named is None or is_charset(named) else None

    async def multipart(self) -> MultipartReader:
        """Return the parts of a form; their texts are in charsets too."""
        parts = await super().multipart()
        parts.part_reader_cls = FormPart
        return parts

    async def text(self) -> str:
        """Return the body as text; raises a problem: 415 for an unknown charset, 400 for bytes that do not fit it."""
        body = await self.read()
        try:
            return body.decode(self.charset or "utf-8")
        except UnicodeError:
            raise RequestRefusedError(400, "The body is no text in its charset.") from None
        except (LookupError, ValueError):
            raise RequestRefusedError(415, "The charset of the body is not known.") from None

    async def json(self, *, loads: Callable[[str], Any] | None = None) -> Any:
        """Return the body as strict JSON, or raise ``JsonError`` (400); ``loads`` replaces the strict reader."""
        if loads is not None:
            return loads(await self.text())
        return strict_loads(await self.read())

    def take_match(self, match: web.UrlMappingMatchInfo) -> None:
        """Note which route the request goes to; ``match_info`` and ``app`` come from it."""
        match.freeze()
        self._match_info = match

    def renew_writer(self) -> None:
        """Forget what was begun for a response of which nothing was sent."""
        self._payload_writer = StreamWriter(self._protocol, self._loop)

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        # In place of ``on_response_prepare``, which takes two more frames for each request and which nobody can
        # connect to on a node: its one application is frozen. Streams pass here too.
        protect(response, self.request_id)
        if self._protocol.is_last_response:  # type: ignore[attr-defined]
            response.force_close()
            response.headers[hdrs.CONNECTION] = "close"


def request_ids() -> Callable[[], str]:
    """Return a maker of ids that no other maker, node or start repeats."""
    prefix = secrets.token_hex(6)
    count = itertools.count(1)
    return lambda: f"{prefix}{next(count):08x}"
