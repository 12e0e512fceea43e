"""The tables of tasks; ``migrations/`` creates them."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from nocohost import Instant, JsonText

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
