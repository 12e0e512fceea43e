"""The tables of nocohost. ``migrations/`` creates them; a test holds the two against each other."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    text,
)

from nocohost.store.types import Instant, JsonText

metadata = MetaData()

jobs = Table(
    "nocohost_jobs",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("key", Text, nullable=False),
    Column("state", Text, nullable=False, comment="pending or running; ended jobs are in nocohost_history"),
    Column("payload", JSON, nullable=False),
    Column("priority", Integer, nullable=False, server_default=text("0"), comment="lower runs first"),
    Column("group", Text),
    Column("run_at", Instant, nullable=False, comment="not before; the database's clock"),
    Column("enqueued_at", Instant, nullable=False),
    Column("started_at", Instant, comment="start of the current or last attempt"),
    Column("attempts", Integer, nullable=False, server_default=text("0"), comment="attempts charged"),
    Column("losses", Integer, nullable=False, server_default=text("0"), comment="attempts that ended with their node"),
    Column("crashes", Integer, nullable=False, server_default=text("0"), comment="children that died of the job"),
    Column("fence", BigInteger, nullable=False, server_default=text("0"), comment="rises at each claim"),
    Column("claim_id", Uuid(as_uuid=False), comment="random, made at each claim; null while pending"),
    Column("node_id", Uuid(as_uuid=False), comment="boot id of the node that holds or last held the job"),
    Column("cancel_requested", Boolean, nullable=False, server_default=text("false")),
    Column("idempotency_key", Text),
    Column("progress", JSON),
    Column("last_error", Text),
    Index(
        "nocohost_jobs_due",
        "key",
        "priority",
        "run_at",
        "id",
        postgresql_where=text("state = 'pending' AND \"group\" IS NULL"),
        sqlite_where=text("state = 'pending' AND \"group\" IS NULL"),
    ),
    Index(
        "nocohost_jobs_group",
        "key",
        "group",
        "enqueued_at",
        "id",
        postgresql_where=text('"group" IS NOT NULL'),
        sqlite_where=text('"group" IS NOT NULL'),
    ),
    Index(
        "nocohost_jobs_group_running",
        "key",
        "group",
        unique=True,
        postgresql_where=text("state = 'running' AND \"group\" IS NOT NULL"),
        sqlite_where=text("state = 'running' AND \"group\" IS NOT NULL"),
    ),
    Index(
        "nocohost_jobs_held",
        "node_id",
        postgresql_where=text("state = 'running'"),
        sqlite_where=text("state = 'running'"),
    ),
    Index(
        "nocohost_jobs_apart",
        "key",
        "priority",
        "run_at",
        "id",
        postgresql_where=text("state = 'pending' AND (losses > 1 OR crashes > 0)"),
        sqlite_where=text("state = 'pending' AND (losses > 1 OR crashes > 0)"),
    ),
    # Each claim walks past what has ended since the last vacuum, however many jobs wait beside it.
    postgresql_with={
        "autovacuum_vacuum_scale_factor": "0.01",
        "autovacuum_vacuum_threshold": "1000",
        "autovacuum_vacuum_cost_delay": "0",
        "autovacuum_analyze_scale_factor": "0.05",
        "autovacuum_analyze_threshold": "1000",
    },
)
"""Jobs that are not over. Terminal rows leave in the transaction that ends them, so this table stays small."""

history = Table(
    "nocohost_history",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("key", Text, nullable=False),
    Column("state", Text, nullable=False, comment="succeeded, dead or cancelled"),
    Column("payload", JSON, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("group", Text),
    Column("run_at", Instant, nullable=False),
    Column("enqueued_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("finished_at", Instant, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("crashes", Integer, nullable=False, server_default=text("0")),
    Column("fence", BigInteger, nullable=False),
    Column("node_id", Uuid(as_uuid=False)),
    Column("idempotency_key", Text),
    Column("progress", JSON),
    Column("value", JsonText),
    Column("last_error", Text),
    Index(
        "nocohost_history_finished",
        "finished_at",
        postgresql_where=text("state <> 'dead'"),
        sqlite_where=text("state <> 'dead'"),
    ),
    Index("nocohost_history_state", "key", "state", "finished_at"),
)
"""Jobs that are over, kept for ``history_seconds``; dead letters until a person decides."""

idempotency = Table(
    "nocohost_idempotency",
    metadata,
    Column("key", Text, primary_key=True, comment="service key"),
    Column("idempotency_key", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False, comment="SHA-256 of the canonical payload"),
    Column("job_id", Uuid(as_uuid=False), nullable=False),
    Column("unique_seconds", Float, nullable=False, comment="how long the key outlives its job"),
    Column("expires_at", Instant, comment="null while the job is not over"),
    Index("nocohost_idempotency_expiry", "expires_at"),
)
"""Idempotency keys outlive their jobs: until ``unique_seconds`` after the end."""

nodes = Table(
    "nocohost_nodes",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True, comment="boot id"),
    Column("name", Text, nullable=False),
    Column("mode", Text, nullable=False, comment="canonical worker mode"),
    Column("requests", Boolean, nullable=False),
    Column("services", JSON, nullable=False, comment="keys this node really serves"),
    Column("state", Text, nullable=False, comment="starting, serving, quiet, draining, stopped or lost"),
    Column("started_at", Instant, nullable=False),
    Column("beat_at", Instant, nullable=False),
    Column("lease_until", Instant, nullable=False, comment="jobs of this node are orphans after it"),
    Column("version", Text, nullable=False),
    Column("plugins", JSON, nullable=False, comment="distribution -> version"),
    Column("address", Text, comment="where the node answers, for people"),
    Column("presence", BigInteger, comment="PostgreSQL advisory lock that the node's heartbeat connection holds"),
    Column("stop_requested", Boolean, nullable=False, server_default=text("false")),
    Index("nocohost_nodes_lease", "lease_until"),
)
"""One row per boot of a node. A job's lease is its node's."""

limits = Table(
    "nocohost_limits",
    metadata,
    Column("key", Text, primary_key=True),
    Column("concurrency", Integer, comment="running jobs of the key in the whole cluster"),
    Column("rate_count", Integer),
    Column("rate_seconds", Float),
    Column("available", Float, comment="tokens left in the bucket at refilled_at"),
    Column("refilled_at", Instant),
)
"""Only keys with a cluster-wide limit have a row here; their claim locks it."""

keys = Table(
    "nocohost_keys",
    metadata,
    Column("key", Text, primary_key=True, comment="service key"),
    Column("paused_at", Instant, comment="nobody claims the key from then on"),
    Column("paused_by", Text, comment="id of the principal"),
    Column("drain_until", Instant, comment="what still runs of a paused key is released then"),
    Column("first_served_at", Instant),
    Column("last_served_at", Instant),
)
"""What holds of a key in the whole cluster, and whether anybody ever served it."""

schedules = Table(
    "nocohost_schedules",
    metadata,
    Column("name", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("cron", Text),
    Column("timezone", Text, nullable=False),
    Column("interval_seconds", Float),
    Column("catch_up", Text, nullable=False, comment="skip, once or all"),
    Column("source", Text, nullable=False, comment="code or database"),
    Column("owner", Text, comment="service key whose code registers it; null in the database"),
    Column("paused_at", Instant),
    Column("next_at", Instant, comment="the next tick; null while paused"),
    Column("last_at", Instant, comment="the latest tick that made a job"),
    Column("changed_at", Instant, nullable=False),
    Index("nocohost_schedules_next", "key", "next_at"),
)
"""Recurring enqueues; those in code have a row too, so that ticks, pauses and lists are one thing."""

ticks = Table(
    "nocohost_ticks",
    metadata,
    Column("schedule", Text, primary_key=True),
    Column("tick_at", Instant, primary_key=True, comment="computed from the schedule, never from a clock's now"),
    Column("job_id", Uuid(as_uuid=False), nullable=False),
    Column("fired_at", Instant, nullable=False),
    Index("nocohost_ticks_fired", "fired_at"),
)
"""A tick that made a job; its row and the job are one transaction, so a tick fires once per cluster."""

subscriptions = Table(
    "nocohost_subscriptions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("resource", Text, nullable=False),
    Column("key", Text, nullable=False, comment="service key of the jobs that a change makes"),
    Column("changes", JSON, nullable=False, comment="some of create, update, delete"),
    Column("fields", JSON, nullable=False, comment="of updates only those in which one of these changed; [] for all"),
    Column("data", JSON, nullable=False, comment="carried to every job"),
    Column("changed_at", Instant, nullable=False),
    Index("nocohost_subscriptions_resource", "resource"),
)
"""Standing orders: which jobs a change of a resource makes, in the transaction of its writer."""

locks = Table(
    "nocohost_locks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Uuid(as_uuid=False), comment="random, made at each acquisition; null while free"),
    Column("node_id", Uuid(as_uuid=False), comment="boot id of the node that holds or last held it"),
    Column("fence", BigInteger, nullable=False, server_default=text("0"), comment="rises at each acquisition"),
    Column("lease_until", Instant),
)
"""Locks by name. A row stays when its lock is free, for its fence must never fall."""

files = Table(
    "nocohost_files",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("name", Text, nullable=False, comment="for people; no path is ever made of it"),
    Column("media_type", Text, nullable=False),
    Column("owner", Text, comment="id of a principal"),
    Column("place", Text, nullable=False, comment="what holds the bytes: database, file or s3"),
    Column("size", BigInteger, comment="in bytes; null while it is written"),
    Column("sha256", Text, comment="null while it is written, and then the file is nobody's to see"),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, comment="the bytes are erased after it; null: when the file is removed"),
    Index(
        "nocohost_files_expires",
        "expires_at",
        postgresql_where=text("expires_at IS NOT NULL"),
        sqlite_where=text("expires_at IS NOT NULL"),
    ),
)
"""Stored files, wherever their bytes are."""

chunks = Table(
    "nocohost_chunks",
    metadata,
    Column("file_id", Uuid(as_uuid=False), ForeignKey("nocohost_files.id"), primary_key=True),
    Column("start", BigInteger, primary_key=True, comment="where in the file it starts"),
    Column("data", LargeBinary, nullable=False),
)
"""The bytes of files that are in the database."""

tokens = Table(
    "nocohost_tokens",
    metadata,
    Column("id", Text, primary_key=True, comment="public part of the token"),
    Column("name", Text, nullable=False, comment="id of the principal"),
    Column("digest", LargeBinary, nullable=False, comment="SHA-256 of the whole token"),
    Column("scopes", JSON, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    Index(
        "nocohost_tokens_name",
        "name",
        unique=True,
        postgresql_where=text("revoked_at IS NULL"),
        sqlite_where=text("revoked_at IS NULL"),
    ),
)

migrations = Table(
    "nocohost_migrations",
    metadata,
    Column("plugin", Text, primary_key=True),
    Column("distribution", Text, nullable=False),
    Column("version", Text, nullable=False, comment="version of the distribution that migrated last"),
    Column("runnable_from", Text, nullable=False, comment="oldest version that may run on this schema"),
    Column("upgraded_at", Instant, nullable=False),
)
"""One row per migration set, beside Alembic's own ``<plugin>_alembic``."""
