"""Writes what fits of a chunk: what the database refuses is narrowed down to the row that it is about."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from builtin_plugins.exchange.source.batch import Misfit
from builtin_plugins.exchange.writing.chunk import Chunk, Counts
from builtin_plugins.exchange.writing.target import Target

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from nocohost import BlockingBulk

Load = Callable[["Connection", Chunk], Counts]
REFUSED = ("22", "23", "P0")
"""SQLSTATEs: data, integrity, what a trigger raises."""
COPY_LINE = re.compile(r"COPY .*?, line (\d+)")
SQLITE_REFUSALS = frozenset({"IntegrityError", "DataError"})


def write_what_fits(
    connection: "Connection", chunk: Chunk, load: Load, target: Target, bulk: "BlockingBulk", most: int
) -> tuple[Counts, list[Misfit]]:
    """Load ``chunk`` in the transaction of ``connection``; return what became of it, and the rows that were refused.

    It ends early with more than ``most`` of them. Other errors of the database pass.
    """
    errors = connection.dialect.loaded_dbapi.Error
    counts, parts = Counts(), [chunk]
    misfits: list[Misfit] = []
    while parts and len(misfits) <= most:
        part = parts.pop()
        if not len(part):
            continue
        try:
            with connection.begin_nested():
                done = load(connection, part)
        except (errors, DBAPIError) as error:
            original = getattr(error, "orig", None) or error
            if not _is_refusal(original):
                raise
            at = _place(original, len(part))
            if at is None and len(part) > 1:
                half = len(part) // 2
                parts += [part.part(half), part.part(0, half)]
                continue
            misfits += _misfits(part.part(at or 0, (at or 0) + 1), bulk.refusal(target.resource.name, error), target)
            counts.refused += 1
            parts += [part.part((at or 0) + 1), part.part(0, at or 0)]
        else:
            counts.add(done)
    return counts, misfits


def _is_refusal(error: Any) -> bool:
    state = getattr(error, "sqlstate", None)
    return state.startswith(REFUSED) if state else type(error).__name__ in SQLITE_REFUSALS


def _place(error: Any, rows: int) -> int | None:
    """Return which row of the chunk the database names, counted from 0: COPY counts the lines it was sent."""
    context = getattr(getattr(error, "diag", None), "context", None) or ""
    found = COPY_LINE.search(context)
    return int(found[1]) - 1 if found and 0 < int(found[1]) <= rows else None


def _misfits(row: Chunk, error: Any, target: Target) -> list[Misfit]:
    shown = {name: cells[0] for name, cells in zip(target.names, row.cells, strict=False)}
    found = []
    for fault in error.faults or [str(error.args[0])]:
        name, _, reason = fault.partition(": ")
        if name == target.resource.name:
            name = _only_reference(target) if "refers to" in reason else ""
        elif not all(one in target.resource.fields for one in name.split(", ")):
            name, reason = "", fault
        value = ", ".join(str(shown.get(one, "")) for one in name.split(", ")) if name else ""
        found.append(Misfit(row.numbers[0], name, value, reason))
    return found[:1] or [Misfit(row.numbers[0], "", "", "is refused by the database")]


def _only_reference(target: Target) -> str:
    """Return the one field that refers to other records; SQLite does not say which of several refers to nothing."""
    found = [name for name in target.names if target.column(name).foreign_keys]
    return found[0] if len(found) == 1 else ""
