"""A form with files, as browsers send it: its files go to the storage while they come, its fields are kept small."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, MultipartReader, hdrs, web

from nocohost.api.errors import NocohostError
from nocohost.api.storage import BINARY, StoredFile
from nocohost.web.keys import APP, BODY_BYTES, PRINCIPAL
from nocohost.web.problems import RequestRefusedError

READ_BYTES = 262_144
MAX_PARTS = 100


@dataclass(frozen=True, slots=True)
class ReceivedForm:
    """What came as ``multipart/form-data``: texts and stored files, by the names of their parts."""

    fields: Mapping[str, str]
    files: Mapping[str, StoredFile]


@dataclass(slots=True)
class _Parts:
    room: int
    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, StoredFile] = field(default_factory=dict)
    are_whole: bool = False


async def receive_form(request: web.Request, *, max_bytes: int | None = None) -> ReceivedForm:
    """Read a ``multipart/form-data`` request; each part with a file name becomes a stored file.

    The files belong to the principal of the request, and expire within a day unless they are kept. Their memory does
    not grow with them; one above ``max_bytes``, or ``storage.max_file_mib``, is answered 413 while it comes. All fields
    together may have ``http.body_bytes``. When anything is refused, what was stored is removed again.

    Raises what is answered 400, 413 or 415.
    """
    if request.content_type != "multipart/form-data":
        raise RequestRefusedError(415, "The body is no form.", hint="send multipart/form-data")
    parts = _Parts(request.app[BODY_BYTES])
    try:
        await _read(request, parts, max_bytes)
        parts.are_whole = True
    finally:
        if not parts.are_whole:
            await asyncio.shield(_remove(request, parts))
    return ReceivedForm(parts.fields, parts.files)


async def _read(request: web.Request, parts: _Parts, max_bytes: int | None) -> None:
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            await _take(request, parts, part, max_bytes)
    except (ValueError, AssertionError, RuntimeWarning) as error:  # how aiohttp tells that it is no multipart body
        raise RequestRefusedError(400, "The body is not multipart/form-data as it should be.") from error


async def _take(request: web.Request, parts: _Parts, part: BodyPartReader | MultipartReader, limit: int | None) -> None:
    if isinstance(part, MultipartReader) or not part.name:
        raise RequestRefusedError(400, "A part of the form has no name.")
    if part.name in parts.fields or part.name in parts.files:
        raise RequestRefusedError(400, f"The form has more than one part {part.name[:100]!r}.")
    if len(parts.fields) + len(parts.files) >= MAX_PARTS:
        raise RequestRefusedError(400, f"The form has more than {MAX_PARTS} parts.")
    if part.filename is None:
        parts.fields[part.name] = await _text(parts, part)
        return
    principal = request.get(PRINCIPAL)
    parts.files[part.name] = await request.app[APP].storage.put(
        _content(part),
        name=part.filename,
        media_type=part.headers.get(hdrs.CONTENT_TYPE, BINARY),
        owner=None if principal is None else principal.id,
        max_bytes=limit,
    )


async def _text(parts: _Parts, part: BodyPartReader) -> str:
    text = bytearray()
    async for chunk in _content(part):
        parts.room -= len(chunk)
        if parts.room < 0:
            raise RequestRefusedError(413, "The fields of the form are too large.")
        text += chunk
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise RequestRefusedError(400, f"The part {part.name!r} is no UTF-8 text.") from error


async def _content(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(READ_BYTES):
        yield chunk


async def _remove(request: web.Request, parts: _Parts) -> None:
    storage: Any = request.app[APP].storage
    for file in parts.files.values():
        with suppress(NocohostError):  # it will expire
            await storage.remove(file.id)
