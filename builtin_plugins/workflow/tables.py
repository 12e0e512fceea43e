"""The tables of workflows; ``migrations/`` creates them."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
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
VALUE = JsonText(none_as_null=True)

workflows = Table(
    "workflow_workflows",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("latest", Integer, nullable=False, comment="number of its newest version"),
    Column("enabled", Integer, comment="number of the version that starts executions; none: none does"),
    Column("trigger_type", String(16), comment="of the enabled version"),
    Column("hook", String(64), comment="digest of the secret in the URL of its webhook"),
    Column("updated_at", Instant, nullable=False),
    Index("workflow_hook", "hook"),
)

versions = Table(
    "workflow_versions",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("title", Text, nullable=False),
    Column("definition", JSON, nullable=False),
    Column("digest", String(64), nullable=False, comment="of the definition"),
    Column("ticks", Integer, nullable=False, comment="how many executions its schedule has started"),
    Column("created_by", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)

executions = Table(
    "workflow_executions",
    metadata,
    Column("id", String(36), primary_key=True, comment="UUID of version 7: newest last"),
    Column("workflow", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", String(9), nullable=False),
    Column("reason", Text),
    Column("trigger", JSON, nullable=False, comment="what its expressions see as trigger"),
    Column("output", VALUE),
    Column("driver", String(36), comment="id of the one job that may go on with it; none while it waits"),
    Column("pokes", Integer, nullable=False, comment="rises when something happens that its driver must look at"),
    Column("cancel_requested", Boolean, nullable=False),
    Column("timer", String(36), comment="id of the job that goes on with it when a wait is over"),
    Column("timer_at", Instant, comment="when that is"),
    Column("turn", Integer, nullable=False, comment="how often steps were run anew on purpose"),
    Column("depth", Integer, nullable=False, comment="how many executions are above it"),
    Column("parent", String(36)),
    Column("parent_path", Text, comment="the step of its parent that waits for it"),
    Column("parent_iteration", Text),
    Column("request", String(64), comment="digest of what makes a repeated start the same one"),
    Column("digest", String(64), comment="of what came with that"),
    Column("waited", Boolean, nullable=False, comment="somebody waits for its end, and is told by a signal"),
    Column("created_by", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("deadline_at", Instant),
    Column("finished_at", Instant),
    Index("workflow_executions_of", "workflow", "id"),
    Index("workflow_executions_state", "state", "id"),
    Index("workflow_executions_finished", "finished_at"),
    Index("workflow_executions_request", "request", unique=True),
    Index("workflow_executions_parent", "parent"),
)

steps = Table(
    "workflow_steps",
    metadata,
    Column("execution", String(36), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("iteration", Text, primary_key=True, comment="rounds of the loops around it, such as 2.0"),
    Column("number", Integer, nullable=False, comment="in the order in which they began"),
    Column("key", String(64), nullable=False),
    Column("type", String(64), nullable=False),
    Column("state", String(9), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("input", VALUE),
    Column("output", VALUE),
    Column("error", VALUE),
    Column("cursor", VALUE, comment="how far a loop is"),
    Column("node", Text),
    Column("reference", Text, comment="what it waits for: id of a job, a task or an execution"),
    Column("wake_at", Instant),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Index("workflow_steps_waiting", "state", "type"),
)

signals = Table(
    "workflow_signals",
    metadata,
    Column("execution", String(36), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("value", VALUE),
    Column("sent_by", Text, nullable=False),
    Column("sent_at", Instant, nullable=False),
)
