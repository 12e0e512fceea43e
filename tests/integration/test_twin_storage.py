"""``app.storage`` as plain handlers have it: files that are written and read as files, in a thread."""

import asyncio
import io
import os
import zipfile

import pytest
from sqlalchemy import select

from nocohost.api.errors import (
    AttemptCancelledError,
    FileTooLargeError,
    NestedWriteError,
    StorageError,
    StoredFileNotFoundError,
)
from nocohost.child.hop import Hop
from nocohost.child.twin_storage import TwinStorage
from nocohost.storage.choice import shelves_for
from nocohost.storage.door import FileStorage
from nocohost.store.blocking import BlockingDatabase
from nocohost.store.schema import files
from nocohost.store.types import db_now

CONTENT = os.urandom(3_000_000)


@pytest.fixture
async def hop():
    return Hop(asyncio.get_running_loop())


@pytest.fixture
async def blocking(database):
    opened = BlockingDatabase(database, asyncio.get_running_loop())
    yield opened
    await asyncio.to_thread(opened.close)


@pytest.fixture
def storage(database, blocking, hop, tmp_path):
    return TwinStorage(FileStorage(database, shelves_for(None, database, tmp_path), max_file_mib=4), blocking, hop)


async def left_of(database, folder):
    """What is still being stored, and what lasts or lies about: nothing must, when the block has been left."""
    storing = [task for task in asyncio.all_tasks() if task.get_name() == "store a file"]
    async with database.connect() as connection:
        lasting = await connection.execute(select(files.c.id).where(files.c.expires_at > db_now()))
    return storing, [*lasting.scalars(), *folder.glob("**/drafts/*")]


async def test_a_file_is_written_and_read_as_a_file(storage):
    def handle():
        with storage.create(name="x.bin", owner="ann") as file:
            for start in range(0, len(CONTENT), 77_777):
                file.write(CONTENT[start : start + 77_777])
            assert file.tell() == len(CONTENT)
            with pytest.raises(StorageError, match="not stored yet"):
                _ = file.stored
        stored = file.stored
        assert (stored.size, stored.owner) == (len(CONTENT), "ann")
        with storage.open(stored.id) as reading:
            assert reading.read() == CONTENT
            assert reading.read(1) == b""
            assert reading.seek(-5, io.SEEK_END) == len(CONTENT) - 5
            assert reading.read() == CONTENT[-5:]
            reading.seek(1_000_000)
            assert reading.read(10) == CONTENT[1_000_000:1_000_010]

    await asyncio.to_thread(handle)


async def test_an_archive_can_be_written_and_read(storage):
    def handle():
        with storage.create(name="x.zip") as file, zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.txt", "inside")
        with storage.open(file.stored.id) as reading, zipfile.ZipFile(reading) as archive:
            assert archive.read("a.txt") == b"inside"

    await asyncio.to_thread(handle)


async def test_an_exception_leaves_no_file_and_nothing_at_work(storage, database, tmp_path):
    def handle():
        with storage.create(name="x") as file:
            file.write(CONTENT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(handle)
    assert await left_of(database, tmp_path) == ([], [])


async def test_a_file_that_is_too_large_is_told_while_it_is_written(storage):
    def handle():
        with storage.create(name="x", max_bytes=1_000_000) as file:
            for _ in range(100):
                file.write(CONTENT)

    with pytest.raises(FileTooLargeError):
        await asyncio.to_thread(handle)


async def test_a_cancelled_attempt_writes_no_more(storage, hop, database, tmp_path):
    def handle():
        with storage.create(name="x") as file:
            file.write(CONTENT)
            hop.cancel()
            file.write(CONTENT)

    with pytest.raises(AttemptCancelledError):
        await asyncio.to_thread(handle)
    assert await left_of(database, tmp_path) == ([], [])


async def test_a_transaction_keeps_and_removes_but_writes_no_files(storage, blocking):
    def handle():
        with storage.create(name="x") as file:
            file.write(b"x")
        with blocking.begin() as connection:
            assert storage.keep(file.stored.id, connection=connection).expires_at is None
        assert storage.find(file.stored.id).expires_at is None
        with blocking.begin() as connection:
            if blocking.in_write_transaction:  # SQLite
                with pytest.raises(NestedWriteError):
                    storage.remove(file.stored.id)
                with pytest.raises(NestedWriteError), storage.create(name="y"):
                    pass
            assert storage.remove(file.stored.id, connection=connection)
        assert storage.find(file.stored.id) is None
        with pytest.raises(StoredFileNotFoundError):
            storage.open(file.stored.id)

    await asyncio.to_thread(handle)
