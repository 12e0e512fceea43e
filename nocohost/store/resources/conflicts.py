"""What a database refuses of a record, told by the fields it is about; values are never told."""

import re
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import literal, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import RecordConflictError, RecordValuesError, ResourceError
from nocohost.store.resources.shape import Shape

UNIQUE, FOREIGN, NOT_NULL, CHECK, EXCLUSION = "23505", "23503", "23502", "23514", "23P01"
DETAIL = re.compile(r"Key \((?P<columns>.*?)\)=")
SQLITE: Mapping[str, str] = {
    "UNIQUE constraint failed: ": UNIQUE,
    "FOREIGN KEY constraint failed": FOREIGN,
    "NOT NULL constraint failed: ": NOT_NULL,
    "CHECK constraint failed: ": CHECK,
}
SENTENCES: Mapping[str, str] = {
    UNIQUE: "is taken by another record",
    FOREIGN: "refers to a record that is not there",
    NOT_NULL: "must not be null",
    CHECK: "breaks a rule of the table",
    EXCLUSION: "collides with another record",
}


@asynccontextmanager
async def refusals(
    connection: AsyncConnection, shape: Shape, written: Mapping[str, Any], *, deleting: bool = False
) -> AsyncIterator[None]:
    """Raise what the database refuses within the block by the names of fields; ``written`` are the values given."""
    try:
        yield
    except IntegrityError as error:
        kind, named = _read(shape, error.orig)
        if kind == FOREIGN and not named and not deleting and shape.is_sqlite:
            named = await _dangling(connection, shape, written)
        raise _refusal(shape, kind, named, deleting=deleting) from error
    except DataError as error:
        raise refusal(shape, error) from error


def refusal(shape: Shape, error: BaseException) -> ResourceError:
    """Return what ``error``, of SQLAlchemy or of its driver, says in the names of fields."""
    original = error.orig if isinstance(error, DBAPIError) else error
    kind, named = _read(shape, original)
    if kind not in SENTENCES:
        return RecordValuesError(
            f"the database cannot store these values in {shape.resource.name}",
            hint="a value is outside what its column holds",
        )
    return _refusal(shape, kind, named, deleting=False)


def _read(shape: Shape, original: BaseException | None) -> tuple[str, list[str]]:
    """Return the kind of the refusal as an SQLSTATE, and the fields it names."""
    kind, columns = _columns(original)
    return kind, [name for name, column in shape.columns.items() if column.name in columns]


def _columns(original: BaseException | None) -> tuple[str, Collection[str]]:
    diagnosis = getattr(original, "diag", None)
    if diagnosis is not None:
        found = DETAIL.search(diagnosis.message_detail or "")
        columns = {name.strip(' "') for name in found["columns"].split(",")} if found else set()
        return str(getattr(original, "sqlstate", "")), columns | {diagnosis.column_name or ""}
    text = str(original)
    for begin, kind in SQLITE.items():
        if text.startswith(begin):
            return kind, {part.rpartition(".")[2] for part in text.removeprefix(begin).split(", ")}
    return "", ()


async def _dangling(connection: AsyncConnection, shape: Shape, written: Mapping[str, Any]) -> list[str]:
    """Return the fields that refer to nothing: SQLite refuses them without a name."""
    named: list[str] = []
    for constraint in shape.table.foreign_key_constraints:
        pairs = [(element.parent.key, element.column) for element in constraint.elements]
        if any(written.get(name) is None for name, _ in pairs):
            continue
        there = [column == shape.bound(name, written[name]) for name, column in pairs]
        if (await connection.execute(select(literal(1)).where(*there).limit(1))).first() is None:
            named += [name for name, _ in pairs]
    return named


def _refusal(shape: Shape, kind: str, named: list[str], *, deleting: bool) -> ResourceError:
    if deleting:
        return RecordConflictError(
            f"records of others refer to this {shape.resource.name}", hint="delete or change those first"
        )
    what = SENTENCES.get(kind, "contradicts other records")
    faults = [f"{name}: {what}" for name in named] if kind == NOT_NULL else []
    if named and not faults:
        faults = [f"{', '.join(named)}: {what}"]
    said = f"{shape.resource.name}: {'; '.join(faults) or what}"
    if kind in (NOT_NULL, CHECK):
        return RecordValuesError(said, faults=faults)
    return RecordConflictError(said, faults=faults)
