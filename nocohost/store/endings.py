"""The one way a job ends: out of the hot table and into the history, in the transaction that ends it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, Table, delete, insert, literal, null, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.job import JobState
from nocohost.store.schema import history, idempotency, jobs
from nocohost.store.types import db_after, db_now

ERROR_LENGTH = 8000


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ends. ``charge`` counts the attempt that ends it; ``last_error`` None keeps what is there."""

    state: JobState
    value: Any = None
    last_error: str | None = None
    charge: bool = False


class Ended(NamedTuple):
    """A job that has just been moved to the history."""

    id: str
    key: str
    idempotency_key: str | None


async def end_jobs(connection: AsyncConnection, where: ColumnElement[bool], ending: Ending) -> Sequence[Ended]:
    """Move the jobs that satisfy ``where`` to the history and let their idempotency keys expire.

    One statement on PostgreSQL; on SQLite several, so the connection must be in a write transaction.
    """
    if connection.dialect.name == "postgresql":
        gone = delete(jobs).where(where).returning(*jobs.c).cte("gone")
        expired = (
            update(idempotency)
            .where(idempotency.c.key == gone.c.key, idempotency.c.idempotency_key == gone.c.idempotency_key)
            .where(idempotency.c.job_id == gone.c.id)
            .values(expires_at=db_after(idempotency.c.unique_seconds))
            .returning(idempotency.c.job_id)
            .cte("expired")
        )
        statement = insert(history).from_select(*_past(gone, ending)).add_cte(expired)
        return await _moved(connection, statement)
    ended = await _moved(connection, insert(history).from_select(*_past(jobs, ending, where)))
    if ended:
        # By what was moved: the clock goes on, and the condition may fit others by now.
        await connection.execute(delete(jobs).where(jobs.c.id.in_([one.id for one in ended])))
    named = [one.id for one in ended if one.idempotency_key is not None]
    if named:
        await date_idempotency(connection, history, named, db_after(idempotency.c.unique_seconds))
    return ended


async def date_idempotency(
    connection: AsyncConnection, table: Table, ids: Sequence[str], expires_at: ColumnElement[Any]
) -> None:
    """Say when the idempotency keys of these jobs, which are in ``table`` now, expire."""
    # By the whole primary key: a job is looked for under its own idempotency key only.
    own = select(table.c.key, table.c.idempotency_key).where(table.c.id.in_(ids), table.c.idempotency_key.is_not(None))
    dating = update(idempotency).where(
        tuple_(idempotency.c.key, idempotency.c.idempotency_key).in_(own), idempotency.c.job_id.in_(ids)
    )
    await connection.execute(dating.values(expires_at=expires_at))


def storable(text: str) -> str:
    """Return ``text`` as both databases take it: no NUL, no lone surrogate, not endless."""
    clean = text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= ERROR_LENGTH else clean[: ERROR_LENGTH - 1] + "…"


async def _moved(connection: AsyncConnection, statement: Any) -> Sequence[Ended]:
    rows = await connection.execute(statement.returning(history.c.id, history.c.key, history.c.idempotency_key))
    return [Ended(*row) for row in rows]


def _past(source: Any, ending: Ending, where: ColumnElement[bool] | None = None) -> tuple[list[str], Select[Any]]:
    """Return the history's columns and the query that fills them from ``source``."""
    values: dict[str, ColumnElement[Any]] = {
        column.name: source.c[column.name] for column in history.c if column.name in source.c
    }
    values["state"] = literal(ending.state.value)
    values["finished_at"] = db_now()
    values["value"] = null() if ending.value is None else literal(ending.value, history.c.value.type)
    if ending.last_error is not None:
        values["last_error"] = literal(storable(ending.last_error))
    if ending.charge:
        values["attempts"] = source.c.attempts + 1
    query = select(*(value.label(name) for name, value in values.items()))
    return list(values), query if where is None else query.where(where)
