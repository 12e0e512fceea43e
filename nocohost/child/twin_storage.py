"""``app.storage`` for plain handlers: files as files, whose bytes the event loop stores and fetches."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from nocohost.api.errors import NestedWriteError, StorageError, StoredFileNotFoundError
from nocohost.api.storage import BINARY, UNKEPT_SECONDS, Storage, StoredFile
from nocohost.child.hop import Hop
from nocohost.store.blocking import BlockingDatabase, through

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer
    from sqlalchemy import Connection

    from nocohost.api.blocking import FileWriter

T = TypeVar("T")
PIECE_BYTES = 524_288
"""How much travels to the event loop at a time."""
AHEAD = 2
"""How many pieces may wait there for the storage."""


class TwinStorage:
    """Implements ``nocohost.api.blocking.BlockingStorage``."""

    def __init__(self, storage: Storage, database: BlockingDatabase, hop: Hop) -> None:
        self._storage = storage
        self._database = database
        self._hop = hop

    @contextmanager
    def create(
        self,
        *,
        name: str,
        media_type: str = BINARY,
        owner: str | None = None,
        keep_seconds: float | None = UNKEPT_SECONDS,
        max_bytes: int | None = None,
    ) -> "Iterator[FileWriter]":
        """Write a file within the block: leaving it stores the file, an exception leaves nothing behind."""
        self._refuse_nested("writing a file")

        def put(content: AsyncIterator[bytes]) -> Coroutine[Any, Any, StoredFile]:
            return self._storage.put(
                content,
                name=name,
                media_type=media_type,
                owner=owner,
                keep_seconds=keep_seconds,
                max_bytes=max_bytes,
            )

        writer = PipeWriter(self._hop.wait(_start(put)), self._hop)
        try:
            yield cast("FileWriter", writer)
            writer.close()
        finally:
            writer.abandon()

    def open(self, id: str) -> BinaryIO:  # noqa: A002 - as the API calls it
        """Open a stored file for reading."""
        found = self.find(id)
        if found is None:
            raise StoredFileNotFoundError(f"there is no stored file {id}")
        return io.BufferedReader(StoredReader(self._storage, found, self._hop), PIECE_BYTES)

    def find(self, id: str, *, connection: "Connection | None" = None) -> StoredFile | None:  # noqa: A002
        """Return the file of this id; None without one."""
        return self._by(connection, lambda joined: self._storage.find(id, connection=joined))

    def keep(
        self,
        id: str,  # noqa: A002
        *,
        seconds: float | None = None,
        connection: "Connection | None" = None,
    ) -> StoredFile:
        """Let the file last until it is removed, or ``seconds`` from now."""
        if connection is None:
            self._refuse_nested("keeping a file")
        return self._by(connection, lambda joined: self._storage.keep(id, seconds=seconds, connection=joined))

    def remove(self, id: str, *, connection: "Connection | None" = None) -> bool:  # noqa: A002
        """Remove the file; return False without one."""
        if connection is None:
            self._refuse_nested("removing a file")
        return self._by(connection, lambda joined: self._storage.remove(id, connection=joined))

    def _by(self, connection: "Connection | None", call: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        if connection is None:
            return self._hop.wait(call(None))
        self._hop.refuse()
        return through(connection, call, call_soon=self._hop.call_soon)

    def _refuse_nested(self, what: str) -> None:
        if self._database.in_write_transaction:
            raise NestedWriteError(
                f"{what} inside a transaction would wait for itself",
                hint="write files before the transaction; keep and remove take connection=connection",
            )


class Pipe:
    """The way of a file's bytes into the storage, on the event loop's side."""

    def __init__(self, put: Callable[[AsyncIterator[bytes]], Coroutine[Any, Any, StoredFile]]) -> None:
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(AHEAD)
        self.storing = asyncio.create_task(put(self._content()), name="store a file")

    async def feed(self, piece: bytes | None) -> None:
        """Hand on a piece, None after the last; raises what the storage raised meanwhile."""
        waiting = asyncio.create_task(self._pieces.put(piece))
        try:
            await asyncio.wait((waiting, self.storing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self.storing.done():
            self.storing.result()

    async def finish(self) -> StoredFile:
        """Tell that this was all, and return the file once it is stored."""
        await self.feed(None)
        return await self.storing

    async def abandon(self) -> None:
        """Store nothing, unless it is stored already; whoever closes the database next finds it unused."""
        self.storing.cancel()
        await asyncio.wait((self.storing,))

    async def _content(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece


async def _start(put: Callable[[AsyncIterator[bytes]], Coroutine[Any, Any, StoredFile]]) -> Pipe:
    return Pipe(put)


class PipeWriter(io.RawIOBase):
    """Implements ``nocohost.api.blocking.FileWriter``, gathering what is written into pieces."""

    def __init__(self, pipe: Pipe, hop: Hop) -> None:
        self._pipe = pipe
        self._hop = hop
        self._gathered = bytearray()
        self._written = 0
        self._stored: StoredFile | None = None
        self._is_over = False

    @property
    def stored(self) -> StoredFile:
        """Return the file once it is stored."""
        if self._stored is None:
            raise StorageError("the file is not stored yet", hint="ask after the block, or after close()")
        return self._stored

    def writable(self) -> bool:
        """Tell that it can be written to."""
        return True

    def tell(self) -> int:
        """Return how many bytes have been written."""
        return self._written

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write all of ``data``."""
        if self._is_over:
            raise ValueError("the file is closed")
        count = memoryview(data).nbytes
        self._gathered += data
        self._written += count
        if len(self._gathered) >= PIECE_BYTES:
            self._send()
        return count

    def close(self) -> None:
        """Store the file."""
        if not self._is_over:
            self._send()
            self._is_over = True
            self._stored = self._hop.wait(self._pipe.finish())
        super().close()

    def abandon(self) -> None:
        """Leave nothing behind, unless the file is stored already."""
        self._is_over = True
        self._gathered.clear()
        if self._stored is None:
            self._hop.finish(self._pipe.abandon())
        super().close()

    def __del__(self) -> None:
        """Do nothing: a file that nobody closed is not stored."""

    def _send(self) -> None:
        piece, self._gathered = bytes(self._gathered), bytearray()
        if piece:
            self._hop.wait(self._pipe.feed(piece))


class StoredReader(io.RawIOBase):
    """A stored file, read where it is looked at."""

    def __init__(self, storage: Storage, file: StoredFile, hop: Hop) -> None:
        self._storage = storage
        self._file = file
        self._hop = hop
        self._place = 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be sought in."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place of the file."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._file.size}[whence]
        if origin + offset < 0:
            raise ValueError(f"there is nothing at {origin + offset}, before the file begins")
        self._place = origin + offset
        return self._place

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Read what fits into ``buffer``, if the file has that much."""
        room = memoryview(buffer).cast("B")
        end = min(self._place + len(room), self._file.size)
        if end <= self._place:
            return 0
        piece = self._hop.wait(self._read(self._place, end))
        room[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)

    async def _read(self, start: int, end: int) -> bytes:
        return b"".join([piece async for piece in self._storage.read(self._file.id, start=start, end=end)])
