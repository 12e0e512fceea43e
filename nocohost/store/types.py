"""The column types and SQL functions that make SQLite and PostgreSQL look alike."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import from_json
from sqlalchemy import JSON, BigInteger, DateTime, Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
LEAST, GREATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def instant_text(instant: datetime | None) -> str | None:
    """Return an instant in UTC as RFC 3339 with ``Z``, as every JSON of ours has it."""
    return None if instant is None else instant.isoformat().replace("+00:00", "Z")


def read_json(text: str | bytes) -> Any:
    """Return the JSON value that is stored as ``text``; of what is none, the text: one row must not spoil the others.

    The fast reader goes two hundred levels deep. What is put around a record on its way may be deeper by a few.
    """
    try:
        return from_json(text)
    except ValueError:
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text if isinstance(text, str) else text.decode("utf-8", "replace")


class Instant(TypeDecorator[datetime]):
    """An instant in UTC: ``timestamptz`` on PostgreSQL, microseconds since 1970 in an integer on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column type of the dialect."""
        return BigInteger() if dialect.name == "sqlite" else DateTime(timezone=True)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Turn an instant into what the driver stores; one that could not be read again is refused."""
        if value is not None and not LEAST <= value <= GREATEST:
            raise ValueError(f"{value.isoformat()} is outside the years 1 to 9999 in UTC")
        if value is None or dialect.name != "sqlite":
            return value
        return (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Turn what the driver gives into an instant in UTC."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return EPOCH + timedelta(microseconds=value)
        return value.astimezone(UTC)  # type: ignore[no-any-return]


class JsonText(JSON):
    """JSON that comes back as it was given, a lone number too.

    A column of type JSON has the affinity NUMERIC in SQLite: it keeps 19.0 as 19, and rounds large numbers.
    """


@compiles(JsonText, "sqlite")
def _json_text(type_: JsonText, compiler: Any, **named: Any) -> str:
    return "TEXT"


class db_now(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function it is
    """The database's clock; the only clock that decides leases, schedules and ``run_at``.

    On SQLite it is the function ``nocohost_now``, which ``nocohost.store.engine`` defines on each connection.
    """

    inherit_cache = True
    type = Instant()


class db_after(FunctionElement[datetime]):  # noqa: N801
    """``db_after(seconds)``: the instant that many seconds after ``db_now()``; a number, a parameter or a column."""

    inherit_cache = True
    type = Instant()


@compiles(db_now, "sqlite")
def _now_on_sqlite(element: db_now, compiler: Any, **kw: Any) -> str:
    return "nocohost_now()"


@compiles(db_now)
def _now_on_postgresql(element: db_now, compiler: Any, **kw: Any) -> str:
    return "clock_timestamp()"


@compiles(db_after, "sqlite")
def _after_on_sqlite(element: db_after, compiler: Any, **kw: Any) -> str:
    return f"(nocohost_now() + CAST({compiler.process(element.clauses, **kw)} * 1000000 AS INTEGER))"


@compiles(db_after)
def _after_on_postgresql(element: db_after, compiler: Any, **kw: Any) -> str:
    return f"(clock_timestamp() + {compiler.process(element.clauses, **kw)} * interval '1 second')"
