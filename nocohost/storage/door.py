"""``app.storage``: rows that say which files there are, and shelves that hold their bytes.

A file is a draft first, whose row expires unless its writer renews it; the commit that gives the row its digest makes
it a file. So a crash at any moment leaves an expired row at most, and the sweep erases by rows alone.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from nocohost.api.errors import FileTooLargeError, NocohostError, StorageError, StoredFileNotFoundError
from nocohost.api.storage import BINARY, UNKEPT_SECONDS, Content, StoredFile
from nocohost.node.identity import new_id
from nocohost.storage.names import fit_media_type, fit_name
from nocohost.storage.pieces import pieces_of
from nocohost.storage.shelf import Draft, Shelf
from nocohost.store import files
from nocohost.store.database import SqlDatabase

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

DRAFT_SECONDS = 900.0
"""How long a draft lives after its writer was last heard of."""
RENEW_SECONDS = 60.0
MEBIBYTE = 1_048_576
SWEPT_AT_ONCE = 100


class FileStorage:
    """Implements ``nocohost.api.storage.Storage``.

    New files go to the first of ``shelves``; the others hold files from before ``storage.url`` was changed.
    """

    def __init__(self, database: SqlDatabase, shelves: Sequence[Shelf], *, max_file_mib: int) -> None:
        self._database = database
        self._shelf = shelves[0]
        self._shelves: Mapping[str, Shelf] = {shelf.name: shelf for shelf in shelves}
        self._max_bytes = max_file_mib * MEBIBYTE

    async def put(
        self,
        content: Content,
        *,
        name: str,
        media_type: str = BINARY,
        owner: str | None = None,
        keep_seconds: float | None = UNKEPT_SECONDS,
        max_bytes: int | None = None,
    ) -> StoredFile:
        """Store a file and return it."""
        limit = self._max_bytes if max_bytes is None else min(max_bytes, self._max_bytes)
        row = files.Draft(new_id(), fit_name(name), fit_media_type(media_type), owner, self._shelf.name)
        draft: Draft | None = None
        stored: StoredFile | None = None
        try:
            async with self._database.begin() as connection:
                await files.insert_draft(connection, row, seconds=DRAFT_SECONDS)
            draft = await self._shelf.open(row.id)
            size, sha256 = await self._fill(draft, row, content, limit)
            await draft.finish()
            async with self._database.begin() as connection:
                stored = await files.publish_draft(
                    connection, row.id, size=size, sha256=sha256, keep_seconds=keep_seconds
                )
            if stored is None:
                raise _too_slow(row)
        finally:
            if stored is None:
                await asyncio.shield(self._abandon(row.id, draft))
        return stored

    async def read(self, id: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:  # noqa: A002
        """Yield the bytes from ``start`` until before ``end``."""
        async with self._database.connect() as connection:
            found = await files.find_file(connection, id)
        if found is None:
            raise _not_found(id)
        file, place = found
        last = file.size if end is None else min(end, file.size)
        if not 0 <= start <= last:
            if start < 0 or (end is not None and end < start):
                raise StorageError(f"the file {id} has no bytes from {start} until before {end}")
            return
        async for piece in self._at(place, id).read(id, start, last):
            yield piece

    async def find(self, id: str, *, connection: "AsyncConnection | None" = None) -> StoredFile | None:  # noqa: A002
        """Return the file of this id; None without one."""
        if connection is None:
            async with self._database.connect() as own:
                return await self.find(id, connection=own)
        found = await files.find_file(connection, id)
        return None if found is None else found[0]

    async def keep(
        self,
        id: str,  # noqa: A002
        *,
        seconds: float | None = None,
        connection: "AsyncConnection | None" = None,
    ) -> StoredFile:
        """Let the file last until it is removed, or ``seconds`` from now."""
        if connection is None:
            async with self._database.begin() as own:
                return await self.keep(id, seconds=seconds, connection=own)
        kept = await files.keep_file(connection, id, seconds=seconds)
        if kept is None:
            raise _not_found(id)
        return kept

    async def remove(self, id: str, *, connection: "AsyncConnection | None" = None) -> bool:  # noqa: A002
        """Remove the file; return False without one."""
        if connection is None:
            async with self._database.begin() as own:
                return await self.remove(id, connection=own)
        return await files.expire_file(connection, id)

    async def sweep(self, failed: Callable[[files.Expired, NocohostError], None]) -> int:
        """Erase what has expired; return how many files that were, and tell ``failed`` of those that cannot be."""
        swept, met = 0, set[str]()
        while True:
            async with self._database.connect() as connection:
                expired = await files.expired_files(connection, SWEPT_AT_ONCE + len(met))
            new = [one for one in expired if one.id not in met]
            if not new:
                return swept
            for one in new:
                met.add(one.id)
                try:
                    await self._at(one.place, one.id).erase(one.id)
                    async with self._database.begin() as connection:
                        await files.forget_file(connection, one.id)
                except StorageError as error:
                    failed(one, error)
                else:
                    swept += 1
                    met.discard(one.id)

    async def _fill(self, draft: Draft, row: files.Draft, content: Content, limit: int) -> tuple[int, str]:
        """Write everything to the draft, which is renewed meanwhile; return its size and digest."""
        size, digest, renewed = 0, hashlib.sha256(), monotonic()
        async for piece in pieces_of(content):
            size += len(piece)
            if size > limit:
                raise FileTooLargeError(
                    f"{row.name!r} has more than {limit:,} bytes", hint="see storage.max_file_mib, or send less"
                )
            digest.update(piece)
            await draft.write(piece)
            if monotonic() - renewed > RENEW_SECONDS:
                renewed = monotonic()
                async with self._database.begin() as connection:
                    if not await files.renew_draft(connection, row.id, seconds=DRAFT_SECONDS):
                        raise _too_slow(row)
        return size, digest.hexdigest()

    async def _abandon(self, file_id: str, draft: Draft | None) -> None:
        """Leave the draft to the sweep; a database that is away lets it expire by itself."""
        if draft is not None:
            await draft.abandon()
        with suppress(NocohostError):
            async with self._database.begin() as connection:
                await files.expire_file(connection, file_id)

    def _at(self, place: str, file_id: str) -> Shelf:
        shelf = self._shelves.get(place)
        if shelf is None:
            raise StorageError(
                f"the bytes of the file {file_id} are in {place!r}", hint="set storage.url as it was when it was stored"
            )
        return shelf


def _not_found(file_id: str) -> StoredFileNotFoundError:
    return StoredFileNotFoundError(f"there is no stored file {str(file_id)[:60]!r}")


def _too_slow(row: files.Draft) -> StorageError:
    return StorageError(
        f"nothing was written to {row.name!r} for {DRAFT_SECONDS:g} s, and it was swept",
        hint="open a file when its content is at hand",
    )
