"""Executions and their steps as they stand in the database: found, listed, written."""

import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from time import time_ns
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from builtin_plugins.workflow.step_row import StepRow
from builtin_plugins.workflow.tables import executions, signals, steps

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

OPEN = ("queued", "running", "waiting")
STATES = ("queued", "running", "waiting", "succeeded", "failed", "cancelled", "timed_out")


@dataclass(frozen=True, slots=True)
class ExecutionRow:
    """One execution as it is stored."""

    id: str
    workflow: str
    version: int
    state: str
    reason: str | None
    trigger: Any
    output: Any
    driver: str | None
    pokes: int
    cancel_requested: bool
    timer: str | None
    timer_at: datetime | None
    turn: int
    depth: int
    parent: str | None
    parent_path: str | None
    parent_iteration: str | None
    waited: bool
    created_by: str
    created_at: datetime
    started_at: datetime | None
    deadline_at: datetime | None
    finished_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Tell whether it has not ended."""
        return self.state in OPEN


SHOWN = tuple(executions.c[one.name] for one in fields(ExecutionRow))
STEP_NAMES = tuple(one.name for one in fields(StepRow))
STEP_COLUMNS = tuple(steps.c[name] for name in STEP_NAMES)
FIND = select(*SHOWN).where(executions.c.id == bindparam("at_id"))
"""Made once: making a statement takes as long as sending it."""
FIND_AT = FIND.add_columns(func.clock_timestamp())
FIND_STEPS = select(*STEP_COLUMNS).where(steps.c.execution == bindparam("at_id")).order_by(steps.c.number)
PLACE = ("execution", "path", "iteration")
ENDING = ("state", "reason", "output", "started_at", "deadline_at", "finished_at")
CHANGING = tuple(
    name for name in STEP_NAMES if name not in ("path", "iteration", "number", "key", "type", "started_at")
)


def _put(statement: Any) -> Any:
    """Return an insert that changes the row that is there, if one is."""
    return statement.on_conflict_do_update(
        index_elements=PLACE, set_={name: statement.excluded[name] for name in CHANGING}
    )


PUT_POSTGRESQL = _put(postgresql.insert(steps))
PUT_SQLITE = _put(sqlite.insert(steps))


def new_id() -> str:
    """Return a UUID of version 7: sorted as text, later ones come later, to a quarter of a microsecond."""
    milliseconds, nanoseconds = divmod(time_ns(), 1_000_000)
    fraction = (nanoseconds << 12) // 1_000_000
    number = milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(UUID(int=number))


async def find_execution(connection: "AsyncConnection", execution_id: str) -> ExecutionRow | None:
    """Return an execution, None without one."""
    row = (await connection.execute(FIND, {"at_id": execution_id})).first()
    return None if row is None else ExecutionRow(*row)


async def find_at(
    connection: "AsyncConnection", execution_id: str, now: datetime
) -> tuple[ExecutionRow | None, datetime]:
    """Return an execution, and the instant by the database's clock; ``now`` where that is this machine's."""
    if connection.dialect.name != "postgresql":
        return await find_execution(connection, execution_id), now
    row = (await connection.execute(FIND_AT, {"at_id": execution_id})).first()
    return (None, now) if row is None else (ExecutionRow(*row[:-1]), row[-1].astimezone(UTC))


async def find_executions(connection: "AsyncConnection", ids: Collection[str]) -> dict[str, ExecutionRow]:
    """Return those of the executions that are there, by id."""
    rows = (await connection.execute(select(*SHOWN).where(executions.c.id.in_(ids)))).all()
    return {row.id: ExecutionRow(*row) for row in rows}


async def list_executions(
    connection: "AsyncConnection",
    *,
    limit: int,
    after: str | None = None,
    workflow: str | None = None,
    states: Collection[str] = (),
    parent: str | None = None,
    created_by: str | None = None,
) -> Sequence[ExecutionRow]:
    """Return executions, newest first, at most ``limit``; ``after`` is the id of the last one of the page before."""
    query = select(*SHOWN).order_by(executions.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(executions.c.id < after)
    if workflow is not None:
        query = query.where(executions.c.workflow == workflow)
    if states:
        query = query.where(executions.c.state.in_(states))
    if parent is not None:
        query = query.where(executions.c.parent == parent)
    if created_by is not None:
        query = query.where(executions.c.created_by == created_by)
    return [ExecutionRow(*row) for row in (await connection.execute(query)).all()]


async def load_steps(connection: "AsyncConnection", execution_id: str) -> Sequence[StepRow]:
    """Return the steps of an execution in the order in which they began."""
    rows = (await connection.execute(FIND_STEPS, {"at_id": execution_id})).all()
    return [StepRow(*row) for row in rows]


async def write_steps(
    connection: "AsyncConnection", written: Iterable[tuple[str, Sequence[StepRow], Sequence[StepRow]]]
) -> None:
    """Write steps, of each execution those that have begun and those that have changed: all in one round trip."""
    written = list(written)
    rows = [
        {"execution": execution_id, **{name: getattr(row, name) for name in STEP_NAMES}}
        for execution_id, new, changed in written
        for row in (*changed, *new)
    ]
    if not rows:
        return
    rows.sort(key=lambda row: (row["execution"], row["path"], row["iteration"]))
    put = PUT_POSTGRESQL if connection.dialect.name == "postgresql" else PUT_SQLITE
    await connection.execute(put if any(changed for _, _, changed in written) else insert(steps), rows)


async def end_plainly(connection: "AsyncConnection", ended: Sequence[ExecutionRow]) -> None:
    """Write the ends of executions that nobody waits for and that wait for nothing, in one round trip."""
    if ended:
        statement = (
            update(executions)
            .where(executions.c.id == bindparam("at_id"))
            .values({name: bindparam(f"new_{name}", type_=executions.c[name].type) for name in ENDING})
        )
        await connection.execute(
            statement.values(driver=None),
            [{"at_id": row.id, **{f"new_{name}": getattr(row, name) for name in ENDING}} for row in ended],
        )


async def signals_of(
    connection: "AsyncConnection", execution_id: str, names: Collection[str]
) -> Sequence[tuple[str, int]]:
    """Return the signals of some names that an execution has not taken yet, oldest first: name and number.

    Their values stay where they are until they are taken: a thousand of a megabyte may wait.
    """
    query = (
        select(signals.c.name, signals.c.number)
        .where(signals.c.execution == execution_id, signals.c.name.in_(names))
        .order_by(signals.c.number)
    )
    return [(row.name, row.number) for row in (await connection.execute(query)).all()]


async def take_signal(connection: "AsyncConnection", execution_id: str, name: str, number: int) -> Any:
    """Remove a signal that a step takes, and return its value."""
    one = (signals.c.execution == execution_id, signals.c.name == name, signals.c.number == number)
    return (await connection.execute(delete(signals).where(*one).returning(signals.c.value))).scalar_one()
