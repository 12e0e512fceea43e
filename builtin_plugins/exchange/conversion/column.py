"""One column of a file on its way to one field: compiled once, then used batch by batch."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from sqlalchemy import Column as SqlColumn
from sqlalchemy import Dialect, Uuid
from sqlalchemy.types import TypeDecorator

from builtin_plugins.exchange.conversion.cell import CellReader
from builtin_plugins.exchange.conversion.copy_text import copy_text, json_text
from builtin_plugins.exchange.conversion.locale import Locale
from builtin_plugins.exchange.conversion.swift import Swift, swift
from builtin_plugins.exchange.source.xlsx_rows import plain_text
from nocohost import Field, Kind

Faults = dict[int, str]
"""What does not fit, by its place in the batch."""
Resolve = Callable[[Sequence[Hashable]], Mapping[Hashable, Any]]
"""Finds the keys of the records that some values name; a ``ValueError`` in place of a key says why there is none."""
SQLITE_DIGITS = 15


class Column:
    """Converts cells to what a writer takes: the text form of COPY on PostgreSQL, Python values elsewhere.

    ``reads`` is the field that the cells are read as; it is another than ``field`` when they name a record of another
    resource, whose key ``resolve`` finds.
    """

    def __init__(
        self,
        field: Field,
        column: "SqlColumn[Any]",
        dialect: Dialect,
        locale: Locale,
        *,
        kind: str = "csv",
        reads: Field | None = None,
    ) -> None:
        self.field = field
        self.resolve: Resolve | None = None
        self._dialect = dialect
        self._is_text = kind == "csv"
        self._reader = CellReader(reads or field, locale, is_json=kind == "jsonl")
        self._type = column.type
        self._copies = dialect.name == "postgresql"
        self._is_naive = field.kind is Kind.INSTANT and not getattr(column.type, "timezone", True)
        self._is_hex = isinstance(column.type, Uuid) and not column.type.native_uuid
        is_plain = reads is None and not isinstance(column.type, TypeDecorator) and not (self._is_naive or self._is_hex)
        self._swift: Swift | None = swift(field, locale) if is_plain and self._is_text and self._copies else None

    def convert(self, cells: Sequence[Any]) -> tuple[Sequence[Any], Faults]:
        """Return a value for each cell, None where it does not fit, and why it does not."""
        if self._swift is not None and cells:
            found = self._swift(cells)
            if found is not None:
                return found, {}
        if self.resolve is not None:
            return self._convert_named(cells)
        if not self._is_text:
            return self._convert_each(cells)
        known, wrong = self._read_distinct(dict.fromkeys(cells))
        if not wrong:
            return [known[cell] for cell in cells], {}
        return [known.get(cell) for cell in cells], {
            place: wrong[cell] for place, cell in enumerate(cells) if cell in wrong
        }

    def shown(self, cell: Any) -> str:
        """Return a cell as its owner wrote it."""
        return "" if cell is None else plain_text(cell)

    def _convert_each(self, cells: Sequence[Any]) -> tuple[Sequence[Any], Faults]:
        found: list[Any] = [None] * len(cells)
        faults: Faults = {}
        for place, cell in enumerate(cells):
            try:
                found[place] = self._finish(self._reader.read(cell))
            except ValueError as error:
                faults[place] = str(error)
        return found, faults

    def _read_distinct(self, cells: Mapping[Any, Any]) -> tuple[dict[Any, Any], dict[Any, str]]:
        known: dict[Any, Any] = {}
        wrong: dict[Any, str] = {}
        for cell in cells:
            try:
                known[cell] = self._finish(self._reader.read(cell))
            except ValueError as error:
                wrong[cell] = str(error)
        return known, wrong

    def _convert_named(self, cells: Sequence[Any]) -> tuple[Sequence[Any], Faults]:
        """Read what the cells say, and find the records that they name, all in one go."""
        assert self.resolve is not None
        found: list[Any] = [None] * len(cells)
        faults: Faults = {}
        for place, cell in enumerate(cells):
            try:
                found[place] = self._reader.read(cell)
            except ValueError as error:
                faults[place] = str(error)
        keys = self.resolve([*dict.fromkeys(value for value in found if value is not None)])
        for place, value in enumerate(found):
            if place in faults:
                continue
            key = None if value is None else keys[value]
            if isinstance(key, ValueError):
                faults[place] = str(key)
                found[place] = None
                continue
            try:
                found[place] = self._finish(self.field.accept(key))
            except ValueError as error:
                faults[place] = str(error)
                found[place] = None
        return found, faults

    def _finish(self, value: Any) -> Any:
        """Return a value of the field as the writer takes it."""
        if self._is_naive and value is not None:
            value = value.replace(tzinfo=None)
        if not self._copies:
            if self.field.kind is Kind.DECIMAL and value is not None and _digits(value) > SQLITE_DIGITS:
                raise ValueError(f"has more than {SQLITE_DIGITS} digits, which SQLite cannot keep")
            return value
        if isinstance(self._type, TypeDecorator):
            value = self._type.process_bind_param(value, self._dialect)
        if self._is_hex and value is not None:
            value = str(value).replace("-", "")
        if self.field.kind is Kind.JSON:
            return json_text(value)
        return copy_text(value)


def _digits(value: Any) -> int:
    return len("".join(map(str, value.as_tuple().digits)).strip("0"))
