"""A real PgBouncer in transaction mode, where one is installed or ``NOCOHOST_TEST_PGBOUNCER`` names its program."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from nocohost.host.processes import free_port
from nocohost.testing.postgres import PostgresServer

VARIABLE = "NOCOHOST_TEST_PGBOUNCER"
MISSING = f"no PgBouncer: install it, or set {VARIABLE} to its program; the stand-in in transaction_pooler.py is tested"
START_SECONDS = 20.0


def find_pgbouncer(environ: Mapping[str, str]) -> str | None:
    """Return the path of the program; None where there is none."""
    return environ.get(VARIABLE) or shutil.which("pgbouncer", path=f"{environ.get('PATH', '')}:/usr/sbin")


@asynccontextmanager
async def pgbouncer(program: str, server: PostgresServer, *, pool_size: int = 10) -> AsyncIterator[int]:
    """Run it before every database of ``server`` within the block, for clients of any name; give its port."""
    port = free_port()
    settings = f"""
[databases]
* = host=127.0.0.1 port={server.port} user=postgres password={server.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 200
"""
    with tempfile.TemporaryDirectory(prefix="nocohost-pgbouncer-") as folder:
        file = Path(folder) / "pgbouncer.ini"
        file.write_text(settings)
        # It refuses to run as root; it reads the file before it becomes somebody else.
        options = ["-u", "nobody"] if os.geteuid() == 0 else []
        process = await asyncio.create_subprocess_exec(
            program, "-q", *options, str(file), stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await _answers(process, port)
            yield port
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _answers(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(START_SECONDS):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return
    raise AssertionError(f"PgBouncer ended with {process.returncode}")
