"""The examination of a cluster: what may be wrong with database, nodes and queues, where, and what to do about it.

It changes nothing. The plugins are examined by the command line, in a process of their own.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from nocohost.api.clock import Clock
from nocohost.api.errors import ConfigError, NocohostError, StoreError
from nocohost.node.settings import Settings
from nocohost.store.census import known_nodes
from nocohost.store.coverage import KeyCoverage, read_coverage
from nocohost.store.database import SqlDatabase
from nocohost.store.migrate import SchemaState, SchemaStatus, schema_status
from nocohost.store.nodes import NodeRow, version_skew
from nocohost.store.revisions import MigrationSet
from nocohost.store.tokens import any_admin
from nocohost.store.vitals import (
    Session,
    database_time,
    dead_letters,
    is_pooled,
    long_waits,
    old_snapshots,
    server_version,
    wal_bytes,
)
from nocohost.web.hosts import is_loopback

SKEW_SECONDS = 5.0
MIB = 1024**2
WAL_BYTES = 64 * MIB
MUCH_WAL_BYTES = 1024**3
FULL_BYTES = MIB
LOST_FOR = timedelta(days=1)
"""How long a lost node is told of."""
OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: all is well, a warning, or a problem; ``hint`` is what to do about it."""

    check: str
    level: str
    message: str
    hint: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the finding as a JSON object."""
        return {"check": self.check, "level": self.level, "message": self.message, "hint": self.hint}


async def examine_database(
    database: SqlDatabase,
    settings: Settings,
    sets: Sequence[MigrationSet],
    declared: Mapping[str, str],
    *,
    clock: Clock,
) -> list[Finding]:
    """Examine the database, and everything that it knows of the cluster.

    What needs an answer or a schema that is not there is left out; the finding that stands there says why.
    """
    try:
        findings = [await _reached(database)]
        async with database.connect() as connection:
            findings.append(await _clock(connection, database, clock))
            if database.dialect == "postgresql":
                findings += await _postgresql(connection)
        if database.file is not None:
            findings.append(_wal(database.file))
        statuses = await schema_status(database, sets)
        findings += _schema(statuses)
        core = next(status for status in statuses if status.plugin == "nocohost")
        if core.state in {SchemaState.CURRENT, SchemaState.NEWER}:
            async with database.connect() as connection:
                findings += [*_nodes(await known_nodes(connection), await database_time(connection))]
                findings += [*_queues(await read_coverage(connection, declared))]
                findings.append(_dead(await dead_letters(connection)))
                findings.append(_door(settings, has_token=await any_admin(connection)))
    except (StoreError, ConfigError) as error:
        hint = error.hint or "is it running, and reachable from here? see its log"
        where = "" if database.shown in error.message else f"{database.shown}: "
        return [Finding("database", PROBLEM, f"{where}{error.message}", hint)]
    return findings


def examine_folder(settings: Settings) -> Finding:
    """Examine the folder of what a node keeps in files."""
    folder = settings.data_dir.absolute()
    where = folder
    while not where.exists() and where != where.parent:
        where = where.parent
    if where.is_dir() and os.access(where, os.W_OK | os.X_OK):
        free = shutil.disk_usage(where).free
        if free < FULL_BYTES:
            message = f"the disk of {folder} is full: {free / MIB:.1f} MiB are free"
            return Finding("data_dir", PROBLEM, message, "make room on it; what was accepted waits, and goes on then")
        return Finding("data_dir", OK, f"{folder} can be written")
    hint = "check who owns it, or set NOCOHOST_DATA_DIR to a folder that this user may write"
    return Finding("data_dir", PROBLEM, f"{folder}: user {os.getuid()} may not write {where}", hint)


async def _reached(database: SqlDatabase) -> Finding:
    async with database.connect() as connection:
        return Finding("database", OK, f"{database.shown} answers: {await server_version(connection)}")


async def _clock(connection: Any, database: SqlDatabase, clock: Clock) -> Finding:
    if database.file is not None:
        return Finding("clock", OK, "SQLite goes by the clock of this machine")
    before = clock.now()
    there = await database_time(connection)
    here = before + (clock.now() - before) / 2
    skew = (here - there).total_seconds()
    if abs(skew) <= SKEW_SECONDS:
        return Finding("clock", OK, f"this machine and the database agree to within {abs(skew):.1f} s")
    side = "ahead of" if skew > 0 else "behind"
    message = f"the clock of this machine is {abs(skew):.0f} s {side} the database's"
    return Finding("clock", PROBLEM, message, "set both by NTP; leases and schedules go by the database's")


async def _postgresql(connection: Any) -> list[Finding]:
    pooled = await is_pooled(connection)
    between = "a pooler stands between: limits of statements are its administrator's business, and hints may be lost"
    return [
        Finding("pooler", WARNING, between, "let nodes connect directly where that is possible")
        if pooled
        else Finding("pooler", OK, "no pooler stands between"),
        _sessions("snapshots", await old_snapshots(connection), "has kept a snapshot"),
        _sessions("locks", await long_waits(connection), "has waited for a lock"),
    ]


def _sessions(check: str, found: Sequence[Session], what: str) -> Finding:
    if not found:
        return Finding(check, OK, f"no session {what} for long")
    told = [
        f"pid {one.pid} ({one.application or 'unnamed'}) {what} for {one.seconds:.0f} s: {one.what}"
        + (f", held by pid {', '.join(map(str, one.blockers))}" if one.blockers else "")
        for one in found
    ]
    hint = "end it, or SELECT pg_terminate_backend(PID); an old snapshot keeps dead rows in every table"
    if check == "locks":
        hint = "look at what holds it: SELECT * FROM pg_stat_activity WHERE pid = PID"
    return Finding(check, PROBLEM, "; ".join(told), hint)


def _wal(file: str) -> Finding:
    size = wal_bytes(file)
    if size <= WAL_BYTES:
        return Finding("wal", OK, f"the write-ahead log has {size / MIB:.1f} MiB")
    message = f"the write-ahead log {file}-wal has {size / MIB:.0f} MiB: a reader has kept it from being cleared"
    hint = "end what reads for so long; the file shrinks when the last process closes it"
    return Finding("wal", PROBLEM if size > MUCH_WAL_BYTES else WARNING, message, hint)


def _schema(statuses: Sequence[SchemaStatus]) -> Iterator[Finding]:
    wrong = [one for one in statuses if one.state in {SchemaState.BEHIND, SchemaState.TOO_NEW}]
    for one in wrong:
        hint = "nocohost db upgrade" if one.state is SchemaState.BEHIND else "run a newer version of it here"
        state = one.state.replace("_", " ")
        message = (
            f"the schema of {one.plugin} is {state}: it is at {one.found or 'nothing'}, and {one.head} is installed"
        )
        yield Finding("schema", PROBLEM, message, hint)
    if not wrong:
        yield Finding("schema", OK, f"every schema fits what is installed: {', '.join(one.plugin for one in statuses)}")


def _nodes(rows: Sequence[NodeRow], now: Any) -> Iterator[Finding]:
    alive = [row for row in rows if row.state in {"starting", "serving", "quiet", "draining"}]
    states = ", ".join(f"{row.name} {row.state}" for row in alive)
    yield Finding("nodes", OK, f"{len(alive)} live nodes: {states}" if alive else "no live node")
    for row in rows:
        if row.state == "lost" and now - row.beat_at <= LOST_FOR:
            since = f"{(now - row.beat_at).total_seconds():.0f} s ago"
            left = f"{row.running} of its jobs are not freed yet" if row.running else "what it held has been freed"
            message = f"node {row.name} ({row.id}) was lost: its last beat came {since}, and {left}"
            yield Finding("lost_nodes", WARNING, message, "see why its process ended")
        elif row.state == "quiet":
            message = f"node {row.name} ({row.id}) is quiet: it claims nothing"
            yield Finding("quiet_nodes", WARNING, message, f"nocohost nodes resume {row.name}")
    for line in version_skew(rows):
        yield Finding("versions", WARNING, line, "finish the roll-out, so that every node runs the same image")


def _queues(found: Sequence[KeyCoverage]) -> Iterator[Finding]:
    well = True
    for one in found:
        if one.unserved:
            well = False
            state = {"unserved": "no node has ever served it", "quarantined": "its nodes have it quarantined"}
            message = f"{one.unserved} jobs of {one.key} are due and no live node serves it"
            message += (
                f" ({state.get(one.state, 'none does now')}); the oldest has waited for {one.oldest_seconds:.0f} s"
            )
            hint = (
                "start a node whose WORKER_MODE covers it and whose image has its plugin; "
                "nocohost plugins check says what is quarantined"
            )
            yield Finding("unserved", PROBLEM, message, hint)
        if one.orphans:
            well = False
            message = f"{one.orphans} running jobs of {one.key} are orphans: their nodes are gone"
            hint = "a node that serves the key frees them within seconds; start one if there is none"
            yield Finding("orphans", PROBLEM, message, hint)
        if one.row.paused_at is not None:
            message = f"{one.key} is paused by {one.row.paused_by}, with {one.due} jobs due"
            yield Finding("paused", WARNING, message, f"nocohost queue resume {one.key}")
    if well:
        yield Finding("unserved", OK, "every key with work is served, and no job is an orphan")


def _dead(counts: Mapping[str, int]) -> Finding:
    if not counts:
        return Finding("dead_letters", OK, "there are no dead letters")
    message = "dead letters wait for a person: " + ", ".join(f"{count} of {key}" for key, count in counts.items())
    return Finding("dead_letters", WARNING, message, "nocohost jobs list --state dead, then retry or drop them")


def _door(settings: Settings, *, has_token: bool) -> Finding:
    host = settings.http.host
    if is_loopback(host):
        return Finding("admin_token", OK, f"requests are answered on {host} only")
    if has_token or settings.admin_token is not None:
        return Finding("admin_token", OK, f"bound to {host}, and an admin token exists")
    message = f"http.host is {host}, beyond loopback, and no admin token exists: no node with requests will start"
    return Finding("admin_token", PROBLEM, message, "nocohost token create NAME --scope admin")


def failed(check: str, error: NocohostError) -> Finding:
    """Return the finding for a check that could not be made."""
    return Finding(check, PROBLEM, error.message, error.hint)
