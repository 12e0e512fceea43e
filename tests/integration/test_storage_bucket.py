"""Files in a bucket, against a server that speaks S3; and buckets that are away."""

import asyncio
import os
import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress

import pytest

from nocohost.api.errors import ConfigError, StorageUnavailableError
from nocohost.storage.choice import shelves_for
from nocohost.storage.door import FileStorage
from nocohost.store.database import SqlDatabase

pytest.importorskip("obstore", reason="pip install 'nocohost[s3]'")
KEY = "key:secret%2Fkey"


@pytest.fixture
def dialect() -> str:
    """One is enough: what the database makes of files has tests of its own."""
    return "sqlite"


@pytest.fixture(scope="module")
def server():
    """Return the address of an S3 server with the bucket ``files``."""
    pytest.importorskip("moto.server", reason="pip install 'moto[server]' to test buckets")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with suppress(OSError):
                urllib.request.urlopen(urllib.request.Request(f"{address}/files", method="PUT"), timeout=5).close()
                break
            assert process.poll() is None
            asyncio.run(asyncio.sleep(0.1))
        yield address
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def make(database: SqlDatabase, tmp_path):
    def make(url: str) -> FileStorage:
        return FileStorage(database, shelves_for(url, database, tmp_path), max_file_mib=64)

    return make


def listing(server):
    with urllib.request.urlopen(f"{server}/files?list-type=2") as listed:
        return listed.read().decode()


async def all_of(storage, file_id, **bounds):
    return b"".join([piece async for piece in storage.read(file_id, **bounds)])


async def test_files_of_any_size_are_kept_in_a_bucket(make, server):
    storage = make(f"s3://{KEY}@files/some/where?endpoint={server}&region=us-east-1")
    for size in (0, 1, 1_048_577, 20_000_000):
        content = os.urandom(size)
        stored = await storage.put(content, name="x", owner="ann")
        assert stored.size == size
        assert await all_of(storage, stored.id) == content
        assert await all_of(storage, stored.id, start=size // 2, end=size // 2 + 10) == content[size // 2 :][:10]
        assert f"<Key>some/where/{stored.id}</Key>" in listing(server)
        assert await storage.remove(stored.id)
    assert await storage.sweep(lambda file, error: pytest.fail(str(error))) == 4
    assert "<Key>some" not in listing(server)


async def test_what_fails_on_the_way_makes_no_object(make, server):
    storage = make(f"s3://{KEY}@files/broken?endpoint={server}&region=us-east-1")

    async def content():
        yield bytes(12_000_000)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await storage.put(content(), name="x")
    assert await storage.sweep(lambda file, error: pytest.fail(str(error))) == 1
    assert "<Key>broken" not in listing(server)


async def test_a_bucket_that_is_not_there_is_said(make, server):
    storage = make(f"s3://{KEY}@nothing?endpoint={server}&region=us-east-1")
    with pytest.raises(StorageUnavailableError, match="no such bucket"):
        await storage.put(b"x", name="x")


async def test_a_server_that_cannot_be_reached_is_said(make):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        storage = make(f"s3://{KEY}@files?endpoint=http://127.0.0.1:{closed.getsockname()[1]}&region=us-east-1")
        with pytest.raises(StorageUnavailableError, match="s3://files") as caught:
            await storage.put(b"x", name="x")
        assert "secret" not in str(caught.value)
        failed = []
        assert await storage.sweep(lambda file, error: failed.append(file.place)) == 0
        assert failed == ["s3"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://", "names no bucket"),
        ("s3://bucket?address=http://x", "'address' is no option"),
        ("file://host/folder", "names no directory"),
        ("file:///folder?x=y", "names no directory"),
        ("ftp://x", "of no kind"),
    ],
)
def test_a_url_that_cannot_be_is_refused(make, url, told):
    with pytest.raises(ConfigError, match=told):
        make(url)
