"""The tables of tasks; ``migrations/`` creates them."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.ext.compiler import compiles


class Instant(TypeDecorator[datetime]):
    """An instant in UTC: SQLite keeps no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the instant in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return the instant with its time zone."""
        if value is None:
            return None
        instant: datetime = value
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


class JsonText(JSON):
    """JSON that comes back as it was given, a lone number too: SQLite makes 19 of 19.0 in a column of type JSON."""


@compiles(JsonText, "sqlite")
def _json_text(type_: JsonText, compiler: Any, **named: Any) -> str:
    return "TEXT"


metadata = MetaData()

tasks = Table(
    "async_task_tasks",
    metadata,
    Column("id", String(36), primary_key=True, comment="UUID of version 7: newest last"),
    Column("kind", String(64), nullable=False),
    Column("title", Text, nullable=False),
    Column("owner", Text, nullable=False, comment="id of the principal who started it"),
    Column("params", JSON, nullable=False),
    Column("upload", Text, comment="id of the uploaded file"),
    Column("upload_name", Text),
    Column("request", String(64), comment="digest of the owner's idempotency key"),
    Column("digest", String(64), comment="of what came with that key"),
    Column("state", String(9), nullable=False),
    Column("tag", BigInteger, nullable=False, comment="its place among the tasks of all owners; its job's priority"),
    Column("job_id", String(36), nullable=False),
    Column("fence", BigInteger, nullable=False, comment="of the attempt that runs or ran last"),
    Column("attempts", Integer, nullable=False, comment="that have begun since the task was made or retried"),
    Column("progress", JSON(none_as_null=True)),
    Column("checkpoint", JsonText(none_as_null=True)),
    Column("row_errors", Integer, nullable=False),
    Column("result_file", JSON(none_as_null=True), comment="id, name, size and media_type of the file it made"),
    Column("result", JsonText(none_as_null=True)),
    Column("error", Text),
    Column("node", Text),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    Index("async_task_of_owner", "owner", "id"),
    Index("async_task_waiting", "state", "tag"),
    Index("async_task_waiting_of_owner", "owner", "state", "tag"),
    Index("async_task_finished", "finished_at"),
    Index("async_task_request", "owner", "request", unique=True),
)
row_errors = Table(
    "async_task_row_errors",
    metadata,
    Column("task_id", String(36), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("row", BigInteger, nullable=False),
    Column("field", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
