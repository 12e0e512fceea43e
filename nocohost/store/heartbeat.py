"""The heartbeat's own connection: synchronous, kept open, used by one thread only."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine

from nocohost.api.errors import StoreUnavailableError
from nocohost.store.claims import released_jobs
from nocohost.store.engine import shown
from nocohost.store.nodes import NodeRecord, Standing, beat
from nocohost.store.presence import NoPresence, Presence
from nocohost.store.translate import translated

ResultT = TypeVar("ResultT")


class HeartbeatConnection:
    """A connection that belongs to the thread which uses it first. After an error it is opened anew."""

    def __init__(self, open_engine: Callable[[], Engine], presence: Presence | None = None) -> None:
        self._open_engine = open_engine
        self._presence = presence or NoPresence()
        self._engine: Engine | None = None
        self._connection: Connection | None = None

    def beat(self, record: NodeRecord, *, lease_seconds: float, state: str) -> Standing:
        """Renew the node's lease; return where it stands by its row. Raises ``StoreError``.

        A connection to PostgreSQL that broke since the last beat is opened anew at once: nobody must take this node for
        dead only because its connection was cut.
        """

        def renew(connection: Connection) -> Standing:
            presence = self._presence.column()
            return beat(connection, record, lease_seconds=lease_seconds, state=state, presence=presence)

        was_open = self._connection is not None and self._connection.dialect.name == "postgresql"
        try:
            return self._transaction(renew)
        except StoreUnavailableError:
            if not was_open:
                raise
        return self._transaction(renew)

    def release_jobs(self, node_id: str) -> int:
        """Hand back, uncharged, all that the node still holds; return how many jobs. Raises ``StoreError``."""
        return self._transaction(lambda connection: int(connection.execute(released_jobs(node_id)).rowcount))

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        engine, self._engine = self._engine, None
        connection, self._connection = self._connection, None
        self._presence.release()
        with translated("" if engine is None else shown(engine.url)):
            if connection is not None:
                connection.close()
            if engine is not None:
                engine.dispose()

    def _transaction(self, work: Callable[[Connection], ResultT]) -> ResultT:
        engine = self._engine = self._engine or self._open_engine()
        with translated(shown(engine.url)):
            is_new = False
            if self._connection is None:
                self._connection = engine.connect()
                if self._connection.dialect.name == "postgresql":
                    # Each use is one statement: BEGIN and COMMIT around it would triple what an idle node asks.
                    self._connection.execution_options(isolation_level="AUTOCOMMIT")
                is_new = True
            is_whole = False
            try:
                if is_new:
                    self._presence.take(self._connection)
                with self._connection.begin():
                    result = work(self._connection)
                is_whole = True
            finally:
                if not is_whole:
                    self._presence.dropped()
                    self._connection.invalidate()
                    self._connection.close()
                    self._connection = None
            return result
