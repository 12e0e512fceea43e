"""Files whose bytes are in the database, in chunks: the same for every node, with nothing else to set up.

A chunk says where in its file it starts, and may have any size. Each is a transaction of its own, so nobody waits for a
long file; those of a draft need not survive a power cut, for the commit that makes a file of them does.
"""

from collections.abc import AsyncIterator

from sqlalchemy import Integer, cast, delete, func, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import StorageError, StoreConflictError
from nocohost.store.database import SqlDatabase
from nocohost.store.schema import chunks

READ_BYTES = 1_048_576
"""How much of a chunk is read at a time."""
ERASED_CHUNKS = 64
"""How many chunks one transaction deletes: of long files too, each is over in a moment."""


class DatabaseShelf:
    """Implements ``nocohost.storage.shelf.Shelf``."""

    name = "database"

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def open(self, file_id: str) -> "ChunkDraft":
        """Begin the file of this id."""
        return ChunkDraft(self._database, file_id)

    async def read(self, file_id: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from ``start`` until before ``end``; no connection is held between two pieces."""
        while start < end:
            async with self._database.connect() as connection:
                piece = await _piece(connection, file_id, start, min(READ_BYTES, end - start))
            if not piece:
                raise StorageError(f"the file {file_id} was removed while it was read")
            yield piece
            start += len(piece)

    async def erase(self, file_id: str) -> None:
        """Delete every chunk of the file, if there are any."""
        some = select(chunks.c.start).where(chunks.c.file_id == file_id).limit(ERASED_CHUNKS)
        query = delete(chunks).where(chunks.c.file_id == file_id, chunks.c.start.in_(some.scalar_subquery()))
        erased = ERASED_CHUNKS
        while erased == ERASED_CHUNKS:
            async with self._database.begin() as connection:
                erased = (await connection.execute(query)).rowcount


class ChunkDraft:
    """A file whose chunks are being inserted; implements ``nocohost.storage.shelf.Draft``."""

    def __init__(self, database: SqlDatabase, file_id: str) -> None:
        self._database = database
        self._file_id = file_id
        self._start = 0

    async def write(self, piece: bytes) -> None:
        """Add a piece."""
        try:
            async with self._database.begin() as connection:
                if connection.dialect.name == "postgresql":
                    await connection.execute(select(func.set_config("synchronous_commit", "off", True)))
                row = {"file_id": self._file_id, "start": self._start, "data": piece}
                await connection.execute(insert(chunks).values(row))
        except StoreConflictError as error:  # the row of the file, which each chunk refers to, is gone
            raise StorageError(f"the file {self._file_id} was not finished in time and has been swept") from error
        self._start += len(piece)

    async def finish(self) -> None:
        """Do nothing more: every chunk is committed."""

    async def abandon(self) -> None:
        """Leave the chunks to ``erase``."""


async def _piece(connection: AsyncConnection, file_id: str, start: int, length: int) -> bytes:
    first = cast(literal(start + 1) - chunks.c.start, Integer)
    query = (
        select(func.substr(chunks.c.data, first, length, type_=chunks.c.data.type))
        .where(chunks.c.file_id == file_id, chunks.c.start <= start)
        .order_by(chunks.c.start.desc())
        .limit(1)
    )
    return bytes(await connection.scalar(query) or b"")
