"""What is known of stored files, wherever their bytes are: a row while one is written, whole, or expired.

A file is found while it has a digest and has not expired. A draft expires unless its writer says in time that it goes
on; whatever has expired stays expired, so that its bytes can be erased without asking anybody again.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, delete, insert, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.storage import StoredFile
from nocohost.store.schema import files
from nocohost.store.types import db_after, db_now


class Draft(NamedTuple):
    """A file that is being written."""

    id: str
    name: str
    media_type: str
    owner: str | None
    place: str
    """What holds its bytes."""


class Expired(NamedTuple):
    """A file whose bytes may be erased."""

    id: str
    place: str


async def insert_draft(connection: AsyncConnection, draft: Draft, *, seconds: float) -> None:
    """Note that a file is being written; it expires after ``seconds``."""
    row = {**draft._asdict(), "created_at": db_now(), "expires_at": db_after(seconds)}
    await connection.execute(insert(files).values(row))


async def renew_draft(connection: AsyncConnection, file_id: str, *, seconds: float) -> bool:
    """Let a draft live for ``seconds`` from now; return False when it has expired."""
    query = update(files).where(files.c.id == file_id, files.c.sha256.is_(None), files.c.expires_at > db_now())
    return (await connection.execute(query.values(expires_at=db_after(seconds)))).rowcount == 1


async def publish_draft(
    connection: AsyncConnection, file_id: str, *, size: int, sha256: str, keep_seconds: float | None
) -> StoredFile | None:
    """Make a file of a draft and return it; None when the draft has expired."""
    query = update(files).where(files.c.id == file_id, files.c.sha256.is_(None), files.c.expires_at > db_now())
    return await _returned(connection, query.values(size=size, sha256=sha256, expires_at=_expiry(keep_seconds)))


async def find_file(connection: AsyncConnection, file_id: str) -> tuple[StoredFile, str] | None:
    """Return the file of this id, and what holds its bytes."""
    if not _is_id(file_id):
        return None
    row = (await connection.execute(select(files).where(files.c.id == file_id, *_is_there()))).one_or_none()
    return None if row is None else (_file(row), row.place)


async def keep_file(connection: AsyncConnection, file_id: str, *, seconds: float | None) -> StoredFile | None:
    """Let the file last for ``seconds`` from now, for ever without them; return None when there is none."""
    if not _is_id(file_id):
        return None
    query = update(files).where(files.c.id == file_id, *_is_there()).values(expires_at=_expiry(seconds))
    return await _returned(connection, query)


async def expire_file(connection: AsyncConnection, file_id: str) -> bool:
    """Let the file, or the draft of one, expire now; return whether it was a file."""
    if not _is_id(file_id):
        return False
    found = update(files).where(files.c.id == file_id, *_is_there()).values(expires_at=db_now())
    if (await connection.execute(found)).rowcount == 1:
        return True
    draft = update(files).where(files.c.id == file_id, files.c.sha256.is_(None), files.c.expires_at > db_now())
    await connection.execute(draft.values(expires_at=db_now()))
    return False


async def expired_files(connection: AsyncConnection, limit: int) -> Sequence[Expired]:
    """Return some files and drafts that have expired, longest first."""
    query = select(files.c.id, files.c.place).where(files.c.expires_at <= db_now())
    rows = await connection.execute(query.order_by(files.c.expires_at).limit(limit))
    return [Expired(row.id, row.place) for row in rows]


async def forget_file(connection: AsyncConnection, file_id: str) -> None:
    """Delete the row of a file that has expired, once its bytes are erased."""
    await connection.execute(delete(files).where(files.c.id == file_id, files.c.expires_at <= db_now()))


def _is_there() -> tuple[ColumnElement[bool], ...]:
    return files.c.sha256.is_not(None), or_(files.c.expires_at.is_(None), files.c.expires_at > db_now())


def _expiry(seconds: float | None) -> Any:
    return null() if seconds is None else db_after(seconds)


async def _returned(connection: AsyncConnection, query: Any) -> StoredFile | None:
    row = (await connection.execute(query.returning(files))).one_or_none()
    return None if row is None else _file(row)


def _file(row: Any) -> StoredFile:
    return StoredFile(row.id, row.name, row.size, row.media_type, row.owner, row.sha256, row.created_at, row.expires_at)


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except (ValueError, AttributeError, TypeError):
        return False
