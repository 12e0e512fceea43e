"""Presence: by what other nodes see at once that a process has died, instead of waiting for its lease.

On PostgreSQL the heartbeat's connection holds an advisory lock, on SQLite the process holds a lock on a file. Both
vanish with the process and with nothing less certain than that: a frozen process keeps them, so only its lease decides.
"""

import fcntl
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import randbits
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, case, false, literal, literal_column, null, text

from nocohost.store.database import SqlDatabase
from nocohost.store.nodes import GONE_STATES
from nocohost.store.schema import nodes

LATE_SECONDS = 0.25
"""A third of a lease and this is longer than a beat, in every profile: who has not beaten for so long is late."""
TAKE = text("SELECT CASE WHEN pg_backend_pid() = :pid THEN pg_try_advisory_lock(:key) ELSE false END")
LOCK = """
(SELECT l.pid FROM pg_locks AS l WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
   AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
   AND (l.classid::bigint << 32) | l.objid::bigint = {key} LIMIT 1)
"""
IS_LATE = f"""
nocohost_nodes.beat_at + (nocohost_nodes.lease_until - nocohost_nodes.beat_at) / 3
  + interval '{LATE_SECONDS} seconds' <= clock_timestamp()
"""
HAS_BEEN_UP = "pg_postmaster_start_time() <= clock_timestamp() - interval '{seconds} seconds'"


class Presence(Protocol):
    """The presence of this node, and its look for that of others. All but ``absent`` and ``bury`` is the heartbeat's.

    ``absent`` and ``bury`` are called by the sweep, in another thread.
    """

    def take(self, connection: Connection) -> None:
        """Show from now on that this process lives; the heartbeat has just opened this connection."""

    def column(self) -> Any:
        """Return what a beat writes into ``nodes.presence``: null when nothing shows that this process lives."""

    def dropped(self) -> None:
        """Note that the heartbeat's connection is gone."""

    def release(self) -> None:
        """Show it no longer: the node stops."""

    def absent(self) -> ColumnElement[bool]:
        """Return the condition on ``nodes`` that the process of a node whose lease goes on has died."""

    def bury(self) -> None:
        """Remove what the dead of the last ``absent`` left behind; they are marked as lost by now."""


class NoPresence:
    """Leases alone."""

    def take(self, connection: Connection) -> None:
        """See ``Presence.take``."""

    def column(self) -> Any:
        """See ``Presence.column``."""
        return null()

    def dropped(self) -> None:
        """See ``Presence.dropped``."""

    def release(self) -> None:
        """See ``Presence.release``."""

    def absent(self) -> ColumnElement[bool]:
        """See ``Presence.absent``."""
        return false()

    def bury(self) -> None:
        """See ``Presence.bury``."""


class SessionPresence(NoPresence):
    """An advisory lock of the heartbeat's session on PostgreSQL, under a key that each session makes anew.

    A node is absent when it has shown a lock that nobody holds, *and* its beat is late: a live node whose connection
    was cut has connected again by then. A node judges others only after its own session has been there for twice
    ``late_seconds`` without a break, so that a database which was away, or has failed over, condemns nobody. A process
    that has just started, and has seen no break, goes by the start of the server, and waits half as long.
    """

    def __init__(self, late_seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._late_seconds = late_seconds
        self._monotonic = monotonic
        self._sessions = 0
        self._key: int | None = None
        self._since: float | None = None

    def take(self, connection: Connection) -> None:
        """See ``Presence.take``. Behind a pooler, whose sessions are shared, there is no presence to show.

        A pooler speaks for itself as a connection opens, so the process that the driver was told of is not the one
        that answers.
        """
        self.dropped()
        self._sessions += 1
        key = randbits(62)
        pid = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
        with connection.begin():
            is_mine = connection.scalar(TAKE, {"pid": pid, "key": key})
        if is_mine:
            self._key, self._since = key, self._monotonic()

    def column(self) -> Any:
        """See ``Presence.column``: asked anew at each beat, whether the session that beats is the one that holds it."""
        if self._key is None:
            return null()
        holder: ColumnElement[int] = literal_column(LOCK.format(key=self._key))
        return case((holder == literal_column("pg_backend_pid()"), literal(self._key, nodes.c.presence.type)))

    def dropped(self) -> None:
        """See ``Presence.dropped``."""
        self._key = self._since = None

    def absent(self) -> ColumnElement[bool]:
        """See ``Presence.absent``."""
        since = self._since
        watched_seconds = self._late_seconds * (1 if self._sessions == 1 else 2)
        if since is None or self._monotonic() - since < watched_seconds:
            return false()
        holder: ColumnElement[int] = literal_column(LOCK.format(key="nocohost_nodes.presence"))
        return and_(
            nodes.c.state.not_in(GONE_STATES),
            nodes.c.presence.is_not(None),
            literal_column(IS_LATE),
            literal_column(HAS_BEEN_UP.format(seconds=2 * self._late_seconds)),
            holder.is_(None),
        )


class FilePresence(NoPresence):
    """A locked file for each node, in a folder beside the SQLite file, which all nodes see, for they share a machine.

    Whoever can lock the file of a node knows for certain that its process is gone.
    """

    def __init__(self, folder: Path, node_id: str) -> None:
        self._folder = folder
        self._file = folder / node_id
        self._held: int | None = None
        self._dead: Sequence[str] = ()

    def take(self, connection: Connection) -> None:
        """See ``Presence.take``. Where the file system knows no locks, there is no presence to show."""
        while self._held is None:
            with suppress(FileExistsError):
                self._folder.mkdir()
            held = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            try:
                fcntl.flock(held, fcntl.LOCK_EX)
                if self._is_mine(held):
                    self._held = held
            except OSError:
                os.close(held)
                return
            if self._held is None:
                os.close(held)  # somebody took it for a dead node's and removed it in between

    def column(self) -> Any:
        """See ``Presence.column``."""
        return null() if self._held is None else literal(1)

    def release(self) -> None:
        """See ``Presence.release``."""
        held, self._held = self._held, None
        if held is not None:
            with suppress(OSError):
                self._file.unlink()
            os.close(held)

    def absent(self) -> ColumnElement[bool]:
        """See ``Presence.absent``."""
        self._dead = [name for name in self._names() if name != self._file.name and self._is_free(name)]
        if not self._dead:
            return false()
        return and_(
            nodes.c.state.not_in(GONE_STATES), nodes.c.presence.is_not(None), nodes.c.id.in_(sorted(self._dead))
        )

    def bury(self) -> None:
        """See ``Presence.bury``."""
        for name in self._dead:
            with suppress(OSError):
                (self._folder / name).unlink()
        self._dead = ()

    def _names(self) -> list[str]:
        try:
            return [file.name for file in self._folder.iterdir() if _is_id(file.name)]
        except OSError:
            return []

    def _is_free(self, name: str) -> bool:
        """Tell whether nobody holds the file; those who ask share the lock, so that they do not see each other."""
        try:
            asked = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(asked, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(asked)
        return True

    def _is_mine(self, held: int) -> bool:
        with suppress(OSError):
            return os.path.samestat(os.fstat(held), self._file.stat())
        return False


def make_presence(database: SqlDatabase, node_id: str, lease_seconds: float) -> Presence:
    """Return how a node of this database shows that it lives."""
    if database.file is None:
        return SessionPresence(lease_seconds / 3 + LATE_SECONDS)
    file = Path(database.file).absolute()
    return FilePresence(file.with_name(f"{file.name}-nodes"), node_id)


def _is_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
