"""Files and the processes that write them: killed in the middle, with 200 MiB in hand, on nodes that share no disk."""

import asyncio
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from nocohost.api.errors import StoredFileNotFoundError
from nocohost.storage.choice import shelves_for
from nocohost.storage.door import FileStorage
from nocohost.store.schema import chunks, files
from nocohost.store.types import db_after

WRITER = Path(__file__).parents[1] / "probes" / "file_writer.py"


@pytest.fixture(params=["database:", "file"])
def storage_url(request, tmp_path):
    return request.param if request.param == "database:" else f"file://{tmp_path}/shelf"


@pytest.fixture
def storage(database, storage_url, tmp_path):
    return FileStorage(database, shelves_for(storage_url, database, tmp_path), max_file_mib=300)


@pytest.fixture
def start(database, storage_url, tmp_path):
    """Start the process that stores files."""
    url = database._url.render_as_string(hide_password=False).replace("+aiosqlite", "").replace("+psycopg", "")

    def start(which):
        return asyncio.create_subprocess_exec(
            sys.executable, str(WRITER), url, storage_url, which, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
        )

    return start


def unexpected(file, error):
    raise AssertionError(f"{file}: {error}")


async def test_what_a_killed_writer_leaves_is_never_seen_and_swept(storage, database, start, tmp_path):
    writer = await start("hang")
    assert await asyncio.wait_for(writer.stdout.readline(), 60) == b"writing\n"
    writer.kill()
    await writer.wait()
    async with database.connect() as connection:
        (left,) = await connection.scalars(select(files.c.id).where(files.c.name == "large"))
    assert await storage.find(left) is None
    with pytest.raises(StoredFileNotFoundError):
        await anext(storage.read(left))
    assert await storage.sweep(unexpected) == 0  # it could still be written
    async with database.begin() as connection:
        await connection.execute(update(files).where(files.c.id == left).values(expires_at=db_after(-1.0)))
    assert await storage.sweep(unexpected) == 1
    async with database.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(chunks).where(chunks.c.file_id == left)) == 0
        assert await connection.scalar(select(func.count()).select_from(files)) == 1
    assert not any(left in str(path) for path in tmp_path.rglob("*"))


async def test_a_file_of_200_mib_is_stored_and_read_in_flat_memory(start, storage_url, dialect):
    if (storage_url, dialect) == ("file", "postgresql"):
        pytest.skip("as beside SQLite")
    writer = await start("large")
    out, _ = await asyncio.wait_for(writer.communicate(), 110)
    stored, read, grown_mib = map(int, out.split())
    assert stored == read == 200 * 1_048_576
    assert grown_mib < 32


async def test_nodes_that_share_the_database_and_no_disk_share_files(database, tmp_path):
    here, there = (
        FileStorage(database, shelves_for("database:", database, tmp_path / name), max_file_mib=4) for name in "ab"
    )
    stored = await here.put(b"made here", name="x")
    assert b"".join([piece async for piece in there.read(stored.id)]) == b"made here"
    assert await there.remove(stored.id)
    assert await here.find(stored.id) is None
    assert await there.sweep(unexpected) == 1


async def test_files_are_in_the_database_of_a_cluster_and_beside_sqlite(database, tmp_path):
    storage = FileStorage(database, shelves_for(None, database, tmp_path), max_file_mib=4)
    await storage.put(b"x", name="x")
    async with database.connect() as connection:
        place = await connection.scalar(select(files.c.place))
    assert place == ("file" if database.dialect == "sqlite" else "database")
