"""The heartbeat's own connection: synchronous, kept open, used by one thread only."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine

from nocohost.store.claims import released_jobs
from nocohost.store.nodes import NodeRecord, Standing, beat
from nocohost.store.translate import translated

ResultT = TypeVar("ResultT")


class HeartbeatConnection:
    """A connection that belongs to the thread which uses it first. After an error it is opened anew."""

    def __init__(self, open_engine: Callable[[], Engine]) -> None:
        self._open_engine = open_engine
        self._engine: Engine | None = None
        self._connection: Connection | None = None

    def beat(self, record: NodeRecord, *, lease_seconds: float, state: str) -> Standing:
        """Renew the node's lease; return where it stands by its row. Raises ``StoreError``."""
        return self._transaction(lambda connection: beat(connection, record, lease_seconds=lease_seconds, state=state))

    def release_jobs(self, node_id: str) -> int:
        """Hand back, uncharged, all that the node still holds; return how many jobs. Raises ``StoreError``."""
        return self._transaction(lambda connection: int(connection.execute(released_jobs(node_id)).rowcount))

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        engine, self._engine = self._engine, None
        connection, self._connection = self._connection, None
        with translated():
            if connection is not None:
                connection.close()
            if engine is not None:
                engine.dispose()

    def _transaction(self, work: Callable[[Connection], ResultT]) -> ResultT:
        with translated():
            if self._connection is None:
                self._engine = self._engine or self._open_engine()
                self._connection = self._engine.connect()
                if self._connection.dialect.name == "postgresql":
                    # Each use is one statement: BEGIN and COMMIT around it would triple what an idle node asks.
                    self._connection.execution_options(isolation_level="AUTOCOMMIT")
            is_whole = False
            try:
                with self._connection.begin():
                    result = work(self._connection)
                is_whole = True
            finally:
                if not is_whole:
                    self._connection.invalidate()
                    self._connection.close()
                    self._connection = None
            return result
