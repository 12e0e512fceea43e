"""SQLAlchemy engines for the two databases, set up so that both keep the same promises."""

from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from pydantic_core import to_json
from sqlalchemy import Connection, Dialect, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from nocohost.api.clock import Clock
from nocohost.api.errors import ConfigError, TransactionExpiredError
from nocohost.node.secrecy import without_password
from nocohost.store.types import EPOCH, MICROSECOND, read_json

BUSY_SECONDS = 10.0
LIMITS = "-c statement_timeout=30s -c idle_in_transaction_session_timeout=60s -c jit=off"
EXPIRED = "nocohost_expired"
"""Where a rolled-back connection keeps the sentence that its owner is told."""
EXPIRED_HINT = "keep write transactions short; do slow work before them"
WRITES = "nocohost_writes"
"""The execution option of connections that take SQLite's write lock as they begin."""


def database_url(text: str) -> URL:
    """Return the SQLAlchemy URL of a plain ``sqlite:///`` or ``postgresql://`` one; raises ``ConfigError``."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise ConfigError(
            "the database URL cannot be read", hint="sqlite:///path or postgresql://user:password@host/name"
        ) from error
    backend = url.get_backend_name()
    if backend == "sqlite":
        if not url.database or url.database == ":memory:":
            raise ConfigError(
                "the SQLite database has no file", hint="sqlite:///relative.sqlite or sqlite:////absolute"
            )
        return url.set(drivername="sqlite+aiosqlite")
    if backend in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    raise ConfigError(f"databases of type {backend!r} are not supported", hint="use SQLite or PostgreSQL")


def make_async_engine(
    url: URL, *, clock: Clock, synchronous: str, pool_size: int, read_only: bool = False
) -> AsyncEngine:
    """Return an engine for the event loop; nothing is connected yet. ``read_only`` engines refuse writes on SQLite."""
    try:
        if url.get_backend_name() != "sqlite":
            network = create_async_engine(
                url,
                pool_size=pool_size,
                max_overflow=pool_size,
                pool_timeout=BUSY_SECONDS,
                **_common(),
                **_network(url),
            )
            _limit(network.sync_engine)
            return network
        engine = create_async_engine(url, pool_size=pool_size, max_overflow=-1, **_common(), **_file())
    except ImportError as error:  # psycopg itself, or the libpq it wraps
        raise _driver_missing() from error
    _prepare_sqlite(engine.sync_engine, clock, synchronous, read_only=read_only)
    return engine


def make_sync_engine(
    url: URL,
    *,
    clock: Clock,
    synchronous: str,
    limited: bool = True,
    pool_size: int | None = None,
    read_only: bool = False,
) -> Engine:
    """Return an engine for threads, such as the beat's; without ``pool_size`` each connection is opened anew.

    ``read_only`` engines refuse writes on SQLite.
    """
    pool: dict[str, Any] = {"poolclass": NullPool}
    if pool_size is not None:
        pool = {"pool_size": pool_size, "max_overflow": pool_size, "pool_timeout": BUSY_SECONDS}
    try:
        if url.get_backend_name() != "sqlite":
            network = create_engine(url, **pool, **_common(), **_network(url))
            if limited:
                _limit(network)
            return network
        engine = create_engine(url.set(drivername="sqlite+pysqlite"), **pool, **_common(), **_file())
    except ImportError as error:
        raise _driver_missing() from error
    _prepare_sqlite(engine, clock, synchronous, read_only=read_only)
    return engine


def driver_arguments(url: URL) -> dict[str, Any]:
    """Return what psycopg itself is told to connect as the engines of a PostgreSQL ``url`` do."""
    _, arguments = url.get_dialect()().create_connect_args(url)
    return {**_network(url)["connect_args"], **arguments}


def shown(url: URL) -> str:
    """Return the URL as people may see it: without the password."""
    text = unquote(url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True))
    return without_password(text)


def _driver_missing() -> ConfigError:
    return ConfigError("the PostgreSQL driver is not installed", hint="pip install 'nocohost[postgres]'")


def _common() -> dict[str, Any]:
    return {
        "json_serializer": lambda value: to_json(value).decode(),
        "json_deserializer": read_json,
        "hide_parameters": True,  # payloads stay out of tracebacks
    }


def _file() -> dict[str, Any]:
    return {"connect_args": {"timeout": BUSY_SECONDS}}


def _network(url: URL) -> dict[str, Any]:
    # No server-side prepared statements: they do not survive a transaction-mode pooler such as PgBouncer.
    arguments = {
        "prepare_threshold": None,
        "connect_timeout": 5,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 15000,
        "application_name": "nocohost",
    }
    return {"connect_args": {name: value for name, value in arguments.items() if name not in url.query}}


def _limit(engine: Engine) -> None:
    """Let PostgreSQL end statements and transactions that hang, unless the URL has ``options`` of its own.

    The limits go with the start of a session, which costs nothing. A pooler such as PgBouncer refuses them, because
    its sessions are shared; then they are the business of its administrator.
    """

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Dialect, record: Any, arguments: Any, options: dict[str, Any]) -> Any:
        if "options" in options:
            return None
        try:
            return dialect.connect(*arguments, **options, options=LIMITS)
        except dialect.loaded_dbapi.OperationalError as error:
            if "unsupported startup parameter" not in str(error):
                raise
        return dialect.connect(*arguments, **options)


def _prepare_sqlite(engine: Engine, clock: Clock, synchronous: str, *, read_only: bool) -> None:
    pragmas = (
        "PRAGMA journal_mode=WAL",
        f"PRAGMA synchronous={synchronous.upper()}",
        "PRAGMA foreign_keys=ON",
        f"PRAGMA query_only={'ON' if read_only else 'OFF'}",
    )

    import sqlite3  # a mebibyte that nodes on PostgreSQL do without

    def now() -> int:
        return (clock.now() - EPOCH) // MICROSECOND

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the begin event below says BEGIN, not the driver
        connection.create_function("nocohost_now", 0, now)
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine, "invalidate")
    def roll_back(connection: Any, record: Any, error: BaseException | None) -> None:
        # SQLite keeps a closed connection open, locks and all, while a cursor of it lives in somebody's traceback.
        with suppress(ValueError, sqlite3.Error):
            connection.rollback()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    @event.listens_for(engine, "before_cursor_execute")
    def refuse_statement(connection: Connection, *rest: Any) -> None:
        _refuse_expired(connection)

    @event.listens_for(engine, "commit")
    def refuse_commit(connection: Connection) -> None:
        _refuse_expired(connection)


def _refuse_expired(connection: Connection) -> None:
    sentence = connection.info.get(EXPIRED)
    if sentence:
        raise TransactionExpiredError(sentence, hint=EXPIRED_HINT)
