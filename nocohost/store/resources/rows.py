"""Many new records at a time: checked before anything is written, and written in few statements."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import bindparam, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import RecordValuesError
from nocohost.store.resources.conflicts import refusals
from nocohost.store.resources.shape import MAX_FAULTS, Shape, misfit

PAGE_ROWS = 1000


def accept_rows(shape: Shape, rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Return every row as it may be stored; raises ``RecordValuesError`` naming rows by their place, from 1."""
    given: list[dict[str, Any]] = []
    faults: list[str] = []
    for place, row in enumerate(rows, start=1):
        try:
            given.append(shape.accept(row, creating=True))
        except RecordValuesError as error:
            faults += [f"row {place}: {fault}" for fault in error.faults]
            if len(faults) >= MAX_FAULTS:
                break
    if faults:
        raise misfit(shape.resource.name, faults)
    return given


async def insert_rows(
    connection: AsyncConnection, shape: Shape, rows: Sequence[Mapping[str, Any]], *, returning: bool
) -> list[dict[str, Any]]:
    """Insert accepted rows in their order, and return the records if they are wanted."""
    names = tuple(shape.fields)
    records: list[dict[str, Any]] = []
    for given, group in groupby(rows, key=lambda row: tuple(name for name in names if name in row)):
        parameters = [{f"v_{name}": shape.bound(name, row[name]) for name in given} for row in group]
        inserting = insert(shape.table).values(
            {shape.columns[name].key: bindparam(f"v_{name}", type_=shape.bind_type(name)) for name in given}
        )
        if returning:
            inserting = inserting.returning(*shape.select_list(names), sort_by_parameter_order=True)
        for start in range(0, len(parameters), PAGE_ROWS):
            async with refusals(connection, shape, {}):
                result = await connection.execute(inserting, parameters[start : start + PAGE_ROWS])
            if returning:
                records += shape.records(result.all(), names)
    return records
