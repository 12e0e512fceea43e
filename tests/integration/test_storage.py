"""``app.storage``: files that are there whole or not at all, on every shelf and both databases."""

import asyncio
import errno
import hashlib
import os
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from nocohost.api.errors import (
    FileTooLargeError,
    StorageError,
    StorageUnavailableError,
    StoredFileNotFoundError,
)
from nocohost.host.files import FileSweep
from nocohost.node.clock import SystemClock
from nocohost.storage.choice import shelves_for
from nocohost.storage.directory import DirectoryShelf, FileDraft
from nocohost.storage.door import FileStorage
from nocohost.storage.pieces import PIECE_BYTES
from nocohost.store.database import SqlDatabase
from nocohost.store.schema import chunks, files
from nocohost.store.types import db_after

LONG = os.urandom(1024) * 2500
"""Two pieces and a half."""


@pytest.fixture(params=["database:", "file"])
def storage_url(request, tmp_path):
    return request.param if request.param == "database:" else f"file://{tmp_path}/shelf"


@pytest.fixture
def storage(database: SqlDatabase, storage_url: str, tmp_path: Path) -> FileStorage:
    return FileStorage(database, shelves_for(storage_url, database, tmp_path), max_file_mib=4)


async def all_of(storage, file_id, **bounds):
    return b"".join([piece async for piece in storage.read(file_id, **bounds)])


async def rows(database, table):
    async with database.connect() as connection:
        return await connection.scalar(select(func.count()).select_from(table))


async def expire(database, file_id):
    async with database.begin() as connection:
        await connection.execute(update(files).where(files.c.id == file_id).values(expires_at=db_after(-1.0)))


def on_disk(tmp_path):
    return [path for path in (tmp_path / "shelf").rglob("*") if path.is_file()]


def unexpected(file, error):
    raise AssertionError(f"{file}: {error}")


async def test_a_file_comes_back_as_it_was_put(storage):
    stored = await storage.put(LONG, name="long.bin", media_type="application/x-long", owner="ann")
    assert stored.size == len(LONG)
    assert stored.sha256 == hashlib.sha256(LONG).hexdigest()
    assert (stored.name, stored.media_type, stored.owner) == ("long.bin", "application/x-long", "ann")
    assert stored.expires_at is not None
    assert await storage.find(stored.id) == stored
    assert await all_of(storage, stored.id) == LONG


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1])
async def test_a_file_of_any_size_comes_back(storage, size):
    content = os.urandom(size)
    stored = await storage.put(content, name="x")
    assert stored.size == size
    assert await all_of(storage, stored.id) == content


async def test_content_may_come_in_pieces_of_any_size(storage):
    async def content():
        for start in range(0, len(LONG), 77_777):
            yield LONG[start : start + 77_777]

    assert await all_of(storage, (await storage.put(content(), name="x")).id) == LONG
    assert await all_of(storage, (await storage.put([b"one", b"", b"two"], name="x")).id) == b"onetwo"


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 0), (0, 1), (5, 9), (PIECE_BYTES - 1, PIECE_BYTES + 1), (2 * PIECE_BYTES, None), (len(LONG), None)],
)
async def test_a_part_of_a_file_is_read(storage, start, end):
    stored = await storage.put(LONG, name="x")
    assert await all_of(storage, stored.id, start=start, end=end) == LONG[start:end]


async def test_a_part_beyond_the_end_ends_there_and_one_that_cannot_be_is_refused(storage):
    stored = await storage.put(b"0123456789", name="x")
    assert await all_of(storage, stored.id, start=8, end=99) == b"89"
    assert await all_of(storage, stored.id, start=50) == b""
    for start, end in ((-1, None), (5, 4)):
        with pytest.raises(StorageError, match="has no bytes from"):
            await all_of(storage, stored.id, start=start, end=end)


async def test_an_id_that_is_none_finds_nothing(storage):
    for wrong in ("", "x", "../../etc/passwd", "0", "\0", "A" * 36, None):
        assert await storage.find(wrong) is None
        assert not await storage.remove(wrong)
        for call in (storage.keep(wrong), all_of(storage, wrong)):
            with pytest.raises(StoredFileNotFoundError):
                await call


async def test_a_file_is_nobodys_to_see_before_it_is_whole(storage, database):
    more, seen = asyncio.Event(), asyncio.Event()

    async def content():
        yield LONG
        seen.set()
        await more.wait()
        yield b"end"

    putting = asyncio.create_task(storage.put(content(), name="x"))
    await seen.wait()
    async with database.connect() as connection:
        (file_id,) = await connection.scalars(select(files.c.id))
    assert await storage.find(file_id) is None
    with pytest.raises(StoredFileNotFoundError):
        await all_of(storage, file_id)
    with pytest.raises(StoredFileNotFoundError):
        await storage.keep(file_id)
    more.set()
    assert await all_of(storage, (await putting).id) == LONG + b"end"


async def test_what_fails_on_the_way_leaves_nothing(storage, database, tmp_path):
    async def content():
        yield LONG
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await storage.put(content(), name="x")
    await storage.sweep(unexpected)
    assert await rows(database, files) == await rows(database, chunks) == 0
    assert on_disk(tmp_path) == []


async def test_a_put_that_is_cancelled_leaves_nothing(storage, database, tmp_path):
    seen = asyncio.Event()

    async def content():
        yield LONG
        seen.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(storage.put(content(), name="x"))
    await seen.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    await storage.sweep(unexpected)
    assert await rows(database, files) == await rows(database, chunks) == 0
    assert on_disk(tmp_path) == []


async def test_a_file_that_is_too_large_is_refused_while_it_comes(storage, database):
    taken = 0

    async def content():
        nonlocal taken
        while True:
            taken += 1
            yield bytes(PIECE_BYTES)

    with pytest.raises(FileTooLargeError, match="4,194,304"):
        await storage.put(content(), name="x")
    assert taken == 5
    with pytest.raises(FileTooLargeError, match="more than 10 bytes"):
        await storage.put(b"0123456789-", name="x", max_bytes=10)
    assert (await storage.put(b"0123456789", name="x", max_bytes=10)).size == 10
    await storage.sweep(unexpected)
    assert await rows(database, files) == 1


async def test_a_draft_that_was_swept_never_becomes_a_file(storage, database, tmp_path):
    async def content():
        yield LONG
        async with database.connect() as connection:
            (file_id,) = await connection.scalars(select(files.c.id))
        await expire(database, file_id)
        await storage.sweep(unexpected)
        yield LONG[:PIECE_BYTES]

    with pytest.raises(StorageError, match="swept"):
        await storage.put(content(), name="x")
    await storage.sweep(unexpected)
    assert await rows(database, files) == await rows(database, chunks) == 0
    assert on_disk(tmp_path) == []


async def test_a_file_that_nobody_keeps_goes_and_one_that_is_kept_stays(storage, database, tmp_path):
    unkept = await storage.put(LONG, name="unkept", keep_seconds=60)
    kept = await storage.put(LONG, name="kept")
    forever = await storage.put(b"x", name="forever", keep_seconds=None)
    assert forever.expires_at is None
    assert (await storage.keep(kept.id)).expires_at is None
    again = await storage.keep(unkept.id, seconds=30)
    assert unkept.expires_at > again.expires_at > unkept.created_at
    await expire(database, unkept.id)
    assert await storage.find(unkept.id) is None
    assert await storage.sweep(unexpected) == 1
    assert await rows(database, files) == 2
    assert await all_of(storage, kept.id) == LONG


async def test_keeping_and_removing_are_part_of_the_callers_transaction(storage, database, tmp_path):
    stored = await storage.put(LONG, name="x")
    with suppress(ZeroDivisionError):
        async with database.begin() as connection:
            assert (await storage.keep(stored.id, connection=connection)).expires_at is None
            raise ZeroDivisionError
    assert (await storage.find(stored.id)).expires_at == stored.expires_at
    with suppress(ZeroDivisionError):
        async with database.begin() as connection:
            assert await storage.remove(stored.id, connection=connection)
            assert await storage.find(stored.id, connection=connection) is None
            raise ZeroDivisionError
    assert await all_of(storage, stored.id) == LONG
    assert await storage.remove(stored.id)
    assert not await storage.remove(stored.id)
    assert await storage.sweep(unexpected) == 1
    assert await rows(database, chunks) == 0
    assert on_disk(tmp_path) == []


async def test_a_change_of_the_setting_leaves_older_files_readable(database, tmp_path):
    def at(url):
        return FileStorage(database, shelves_for(url, database, tmp_path), max_file_mib=4)

    first = await at("database:").put(LONG, name="x")
    second = await at(f"file://{tmp_path}/files").put(b"y", name="y")
    assert await all_of(at(f"file://{tmp_path}/files"), first.id) == LONG
    assert await all_of(at("database:"), second.id) == b"y"


async def test_a_directory_that_other_nodes_do_not_share_says_so(database, tmp_path):
    here = FileStorage(database, shelves_for(f"file://{tmp_path}/here", database, tmp_path), max_file_mib=4)
    there = FileStorage(database, shelves_for(f"file://{tmp_path}/there", database, tmp_path), max_file_mib=4)
    stored = await here.put(b"x", name="x")
    with pytest.raises(StorageError):
        await all_of(there, stored.id)


async def test_a_directory_that_cannot_be_written_is_said(database, tmp_path):
    (tmp_path / "blocked").write_text("a file")
    storage = FileStorage(database, shelves_for(f"file://{tmp_path}/blocked", database, tmp_path), max_file_mib=4)
    with pytest.raises(StorageUnavailableError, match="cannot write to"):
        await storage.put(b"x", name="x")


async def test_a_disk_that_is_full_is_said_and_leaves_nothing(database, tmp_path, monkeypatch):
    def full(draft, piece):
        raise OSError(errno.ENOSPC, "No space left on device")

    storage = FileStorage(database, shelves_for(f"file://{tmp_path}/shelf", database, tmp_path), max_file_mib=4)
    monkeypatch.setattr(FileDraft, "_write_all", full)
    with pytest.raises(StorageUnavailableError, match="No space left on device") as caught:
        await storage.put(LONG, name="x")
    assert "make room" in caught.value.hint
    await storage.sweep(unexpected)
    assert await rows(database, files) == 0
    assert on_disk(tmp_path) == []


async def test_the_sweep_of_a_node_tells_once_of_a_file_that_cannot_be_erased(database, tmp_path, log, log_lines):
    def at(url):
        return FileStorage(database, shelves_for(url, database, tmp_path), max_file_mib=4)

    stored = await at("database:").put(b"x", name="x")
    async with database.begin() as connection:
        await connection.execute(update(files).values(place="elsewhere", expires_at=db_after(-1.0)))
    sweep = FileSweep(at("database:"), clock=SystemClock(), log=log)
    await sweep.turn()
    await sweep.turn()
    told = [line for line in log_lines.entries if line["event"] == "file.not_erased"]
    assert [(line["file"], line["place"]) for line in told] == [(stored.id, "elsewhere")]
    async with database.begin() as connection:
        await connection.execute(update(files).values(place="database"))
    await sweep.turn()
    assert await rows(database, files) == await rows(database, chunks) == 0


async def test_a_draft_that_was_abandoned_takes_nothing_from_a_late_thread(tmp_path):
    draft = FileDraft(tmp_path / "drafts" / "x", tmp_path / "place" / "x")
    await draft.write(b"begun")
    await draft.abandon()
    await draft.write(b"late")
    await draft.finish()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_a_reader_that_leaves_while_its_file_is_opened_leaves_no_handle(tmp_path):
    """A pipe stands for a slow share: it cannot be opened before somebody writes, nor written once nobody reads."""
    place = tmp_path / "le" / "a-file"
    place.parent.mkdir()
    os.mkfifo(place)
    reading = asyncio.create_task(anext(DirectoryShelf(tmp_path).read("a-file", 0, 10)))
    await asyncio.sleep(0)  # it waits for the thread that opens
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading
    with pytest.raises(BrokenPipeError):
        await write_while_it_is_read(place)


async def write_while_it_is_read(pipe):
    async with asyncio.timeout(60):
        writer = await asyncio.to_thread(os.open, pipe, os.O_WRONLY)
        try:
            while True:
                os.write(writer, b"x")
                await asyncio.sleep(0.01)
        finally:
            os.close(writer)
