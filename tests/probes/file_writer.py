"""A process that stores files, to be killed or measured: ``file_writer.py DATABASE_URL STORAGE_URL hang|large``."""

import asyncio
import resource
import sys
from pathlib import Path

import structlog

from nocohost.node.clock import SystemClock
from nocohost.storage.choice import shelves_for
from nocohost.storage.door import FileStorage
from nocohost.store.database import open_database

MEBIBYTE = bytes(1_048_576)


async def hang():
    """Never end."""
    for _ in range(3):
        yield MEBIBYTE
    print("writing", flush=True)
    await asyncio.Event().wait()


async def large():
    """Two hundred mebibytes."""
    for _ in range(200):
        yield MEBIBYTE


async def main(database_url: str, storage_url: str, which: str) -> None:
    database = open_database(database_url, clock=SystemClock(), log=structlog.get_logger())
    storage = FileStorage(database, shelves_for(storage_url, database, Path.cwd()), max_file_mib=300)
    await storage.put(b"warm", name="warm")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stored = await storage.put(hang() if which == "hang" else large(), name="large", keep_seconds=None)
    read = sum([len(piece) async for piece in storage.read(stored.id)])
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(stored.size, read, (after - before) // 1024, flush=True)
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
