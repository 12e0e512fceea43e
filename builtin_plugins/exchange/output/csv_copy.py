"""CSV as PostgreSQL writes it: ``COPY (SELECT …) TO STDOUT``, with the guard and every form of values in SQL."""

import codecs
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from sqlalchemy import Text, TypeDecorator, Uuid, case, cast, func, literal

from builtin_plugins.exchange.guard import DANGEROUS, QUOTE
from builtin_plugins.exchange.output.csv_rows import encoder, head_of
from builtin_plugins.exchange.output.sheet import Sheet
from nocohost import Field, Instant, Kind

if TYPE_CHECKING:
    from sqlalchemy import Connection

GATHERED_BYTES = 262_144
UTF8 = frozenset({"utf-8", "utf8"})


def is_stored_as_shown(sheet: Sheet) -> bool:
    """Tell whether PostgreSQL has what people are shown: types of plugins' own may store something else."""
    types: list[Any] = [column.resource.table.columns[column.field.name].type for column in sheet.columns]
    return not any(
        (isinstance(kind, TypeDecorator) and not isinstance(kind, Instant))
        or (isinstance(kind, Uuid) and not kind.native_uuid)
        for kind in types
    )


def copy_csv(sheet: Sheet, file: BinaryIO, connection: "Connection", passed: Callable[[int], None]) -> int:
    """Write a CSV and return how many rows it has; ``passed`` is told of rows as they come."""
    statement, values = _copying(sheet, connection)
    encode = None if sheet.params.encoding.lower().replace("_", "-") in UTF8 else encoder(sheet.params.encoding)
    decode = codecs.getincrementaldecoder("utf-8")().decode
    file.write(head_of(sheet))
    rows = 0
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        cursor.execute("SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'; SET LOCAL extra_float_digits = 1")
        with cursor.copy(statement, values) as copy:
            for count, gathered in _gathered(copy):
                file.write(gathered if encode is None else encode(decode(gathered)))
                rows += count
                passed(count)
    return rows


def _gathered(copy: Any) -> Iterator[tuple[int, bytes]]:
    """Yield what comes, some at a time, and how many rows that is: PostgreSQL sends each row by itself."""
    rows, gathered = 0, bytearray()  # a list of rows would cost more: each is an object that the collector counts
    for row in copy:
        gathered += row
        rows += 1
        if len(gathered) >= GATHERED_BYTES:
            yield rows, bytes(gathered)
            rows = 0
            gathered.clear()
    if gathered:
        yield rows, bytes(gathered)


def _copying(sheet: Sheet, connection: "Connection") -> tuple[str, Any]:
    """Return the statement for psycopg, and the values of its parameters."""
    selected = [
        _as_text(column, field, guard=sheet.params.guard)
        for column, field in zip(sheet.statement.selected_columns, sheet.fields, strict=True)
    ]
    if len(selected) == 1:  # whose nulls would be rows that are not there
        selected = [func.coalesce(cast(selected[0], Text), "")]
    query = sheet.statement.with_only_columns(*selected, maintain_column_froms=True)
    compiled = query.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    bound = compiled.construct_params()
    processors: Any = compiled._bind_processors
    for name, processor in processors.items():
        if name in bound:
            bound[name] = processor(bound[name])
    separator = sheet.params.separator.replace("\t", "\\t")
    options = f"FORMAT csv, DELIMITER E'{separator}', ENCODING 'UTF8'"  # checked against four characters
    return f"COPY ({compiled}) TO STDOUT ({options})", bound


def _as_text(column: Any, field: Field, *, guard: bool) -> Any:
    """Return the column so that PostgreSQL writes it as we do."""
    kind = field.kind
    if kind is Kind.BOOLEAN:
        return cast(column, Text)
    if kind is Kind.INSTANT:
        shown = func.replace(cast(column, Text), " ", "T")
        return func.replace(shown, "+00", "Z") if getattr(column.type, "timezone", True) else shown.concat("Z")
    if kind is Kind.BINARY:
        return func.replace(func.encode(column, "base64"), "\n", "")
    if kind in (Kind.TEXT, Kind.CHOICE) and guard:
        text = cast(column, Text) if kind is Kind.CHOICE else column
        runs = func.ascii(text).in_([ord(letter) for letter in DANGEROUS])
        return case((runs, literal(QUOTE, Text).concat(text)), else_=text)
    return column
