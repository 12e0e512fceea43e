"""A stored file as a response: for its owner, whole or in part, always to be saved and never to be shown."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import NamedTuple
from urllib.parse import quote

from aiohttp import hdrs, web

from nocohost.api.errors import StoredFileNotFoundError
from nocohost.api.storage import StoredFile
from nocohost.web.keys import APP, PRINCIPAL
from nocohost.web.problems import RequestRefusedError

OPERATE = "storage.operate"
RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*")
UNQUOTED = "!#$&+-.^_`|~"
"""What RFC 8187 leaves as it is, beside letters and digits."""


class Span(NamedTuple):
    """The part of a file that is sent: from ``start`` until before ``end``."""

    start: int
    end: int


async def send_file(
    request: web.Request, file_id: str, *, name: str | None = None, check_owner: bool = True
) -> web.StreamResponse:
    """Answer with a stored file, and return the response, which is sent already.

    It is for the principal that owns the file and for those who may ``operate``; to anybody else there is no such file.
    ``check_owner=False`` leaves that to the caller. ``name`` is offered for it in place of its own.

    ``HEAD``, one range with ``If-Range``, and ``If-None-Match`` are answered as RFC 9110 says. Raises
    ``StoredFileNotFoundError`` (404).
    """
    storage = request.app[APP].storage
    file = await storage.find(file_id)
    if file is None or (check_owner and not _is_for(request, file)):
        raise StoredFileNotFoundError("there is no such file")
    headers = _headers(file, name or file.name)
    if _is_known(request, file):
        return web.Response(status=304, headers={name: headers[name] for name in (hdrs.ETAG, hdrs.CACHE_CONTROL)})
    span = _asked_span(request, file)
    response = web.StreamResponse(headers=headers)
    if span is None:
        span = Span(0, file.size)
    else:
        response.set_status(206)
        response.headers[hdrs.CONTENT_RANGE] = f"bytes {span.start}-{span.end - 1}/{file.size}"
    response.content_length = span.end - span.start
    if request.method == hdrs.METH_HEAD:
        await response.prepare(request)
    else:
        await _send(request, response, storage.read(file.id, start=span.start, end=span.end))
    return response


async def _send(request: web.Request, response: web.StreamResponse, pieces: AsyncIterator[bytes]) -> None:
    piece = await anext(pieces, b"")  # before the head: what cannot be read is still answered as an error
    await response.prepare(request)
    while piece:
        await response.write(piece)
        piece = await anext(pieces, b"")
    await response.write_eof()


def _is_for(request: web.Request, file: StoredFile) -> bool:
    principal = request.get(PRINCIPAL)
    return principal is not None and (principal.id == file.owner or principal.may(OPERATE))


def _headers(file: StoredFile, name: str) -> dict[str, str]:
    return {
        hdrs.CONTENT_TYPE: file.media_type,
        hdrs.CONTENT_DISPOSITION: attachment(name),
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.ETAG: f'"{file.sha256}"',
        hdrs.LAST_MODIFIED: _http_date(file.created_at),
        hdrs.CACHE_CONTROL: "private, no-cache",
    }


def attachment(name: str) -> str:
    """Return the ``Content-Disposition`` (RFC 6266) under which a browser saves a file as ``name``."""
    plain = "".join(letter if " " <= letter <= "~" and letter not in '"\\%;/' else "_" for letter in name)
    if plain == name:
        return f'attachment; filename="{plain}"'
    encoded = quote(name.encode("utf-8", "replace"), safe=UNQUOTED)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


def _http_date(instant: datetime) -> str:
    return format_datetime(instant.astimezone(UTC).replace(microsecond=0), usegmt=True)


def _is_known(request: web.Request, file: StoredFile) -> bool:
    """Tell whether the client has this very file already."""
    known = request.headers.get(hdrs.IF_NONE_MATCH, "")
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    return known.strip() == "*" or f'"{file.sha256}"' in tags


def _asked_span(request: web.Request, file: StoredFile) -> Span | None:
    """Return the one part that is asked for; None for all of it, which several parts are answered with too.

    Raises a 416 problem for a part that the file does not have.
    """
    asked = RANGE.fullmatch(request.headers.get(hdrs.RANGE, ""))
    if request.method != hdrs.METH_GET or asked is None or asked[1] == asked[2] == "":
        return None
    condition = request.headers.get(hdrs.IF_RANGE)
    if condition is not None and condition.strip() not in (f'"{file.sha256}"', _http_date(file.created_at)):
        return None
    if asked[1] == "":
        start, end = max(file.size - int(asked[2]), 0), file.size
    else:
        start, end = int(asked[1]), min(int(asked[2] or file.size) + 1, file.size)
        if asked[2] and int(asked[2]) < start:
            return None
    if start >= end:
        raise RequestRefusedError(
            416,
            f"The file has {file.size} bytes.",
            code="http.range",
            headers={hdrs.CONTENT_RANGE: f"bytes */{file.size}"},
        )
    return Span(start, end)
