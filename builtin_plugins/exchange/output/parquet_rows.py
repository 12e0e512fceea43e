"""Parquet, for those who analyse: typed columns, decimals exact, instants in UTC. Needs the extra ``parquet``."""

import json
from collections.abc import Iterable
from typing import Any, BinaryIO

from builtin_plugins.exchange.output.failure import ExportFailedError
from builtin_plugins.exchange.output.sheet import Batch, Sheet
from nocohost import Field, Kind

GROUP_ROWS = 50_000
MAX_PRECISION = 38


def write_parquet(sheet: Sheet, file: BinaryIO, batches: Iterable[Batch]) -> dict[str, Any]:
    """Write a Parquet file; raises ``ExportFailedError`` where pyarrow is not installed."""
    try:
        import pyarrow as arrow
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise ExportFailedError(
            "this node cannot write Parquet", hint="pip install 'nocohost[parquet]' on the nodes that run tasks"
        ) from error
    types = {
        Kind.INTEGER: arrow.int64(),
        Kind.FLOAT: arrow.float64(),
        Kind.BOOLEAN: arrow.bool_(),
        Kind.INSTANT: arrow.timestamp("us", tz="UTC"),
        Kind.DATE: arrow.date32(),
        Kind.TIME: arrow.time64("us"),
        Kind.BINARY: arrow.binary(),
    }

    def type_of(field: Field) -> Any:
        if field.kind is Kind.DECIMAL and field.scale is not None and (field.precision or 99) <= MAX_PRECISION:
            return arrow.decimal128(field.precision, field.scale)
        return types.get(field.kind, arrow.string())

    schema = arrow.schema([arrow.field(column.title, type_of(column.field)) for column in sheet.columns])
    gathered: Batch = []
    with ParquetWriter(file, schema) as writer:
        for batch in batches:
            gathered.extend(batch)
            if len(gathered) >= GROUP_ROWS:
                writer.write_table(_table(arrow, schema, sheet, gathered))
                gathered = []
        if gathered:
            writer.write_table(_table(arrow, schema, sheet, gathered))
    return {}


def _table(arrow: Any, schema: Any, sheet: Sheet, rows: Batch) -> Any:
    columns = zip(*rows, strict=True)
    arrays = [
        arrow.array(_plain(part.type, field, values), type=part.type)
        for part, field, values in zip(schema, sheet.fields, columns, strict=True)
    ]
    return arrow.Table.from_arrays(arrays, schema=schema)


def _plain(kind: Any, field: Field, values: Any) -> list[Any]:
    if str(kind) != "string" or field.kind is Kind.TEXT:
        return list(values)
    show = json.dumps if field.kind is Kind.JSON else field.show
    return [None if value is None else str(show(value)) for value in values]
