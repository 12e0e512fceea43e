"""A resource as one database keeps it: what is selected, how it becomes Python values, and what may be written.

SQLite keeps decimals as floats and instants as text. Both are read as they are stored, for what SQLAlchemy makes of
them would round the one, and could not be compared with the other again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any

from sqlalchemy import Column, ColumnElement, DateTime, null, type_coerce
from sqlalchemy.types import NullType, Numeric, TypeEngine

from nocohost.api.errors import RecordNotFoundError, RecordValuesError
from nocohost.api.field import Field, Kind
from nocohost.api.keys import nearest
from nocohost.api.resource import Resource

Read = Callable[[Any], Any]
EXACT = Context(prec=400)
FLOAT_DIGITS = 15
"""So many digits of a decimal survive in SQLite."""
MAX_FAULTS = 20


class Shape:
    """One resource on one database; made once, used by every reader and writer."""

    def __init__(self, resource: Resource, dialect: str) -> None:
        self.resource = resource
        self.table = resource.table
        self.fields = resource.fields
        self.key = tuple(field.name for field in resource.key)
        self.is_sqlite = dialect == "sqlite"
        self.columns: Mapping[str, Column[Any]] = {column.key: column for column in self.table.columns}
        self._stored = {name: self._as_stored(name) for name in self.fields}
        self._readers = {name: self._reader(field) for name, field in self.fields.items()}

    def is_raw(self, name: str) -> bool:
        """Tell whether SQLite keeps the field in a form of its own, in which it is read and compared."""
        if not self.is_sqlite:
            return False
        kind = type(self.columns[name].type)
        return (issubclass(kind, Numeric) and self.fields[name].kind is Kind.DECIMAL) or issubclass(kind, DateTime)

    def stored(self, name: str) -> ColumnElement[Any]:
        """Return the field in the form in which rows have it."""
        return self._stored[name]

    def select_list(self, names: Iterable[str]) -> list[ColumnElement[Any]]:
        """Return what to select, one element for each of ``names``."""
        return [self._stored[name] for name in names]

    def records(self, rows: Iterable[Sequence[Any]], names: Sequence[str]) -> list[dict[str, Any]]:
        """Return rows that begin with the fields ``names`` as records."""
        readers = [self._readers[name] for name in names]
        # Column by column, which takes fewer steps. zip stops at the shorter: fields that were selected for their order
        # alone stand at the end.
        columns = (
            column if read is None else [None if value is None else read(value) for value in column]
            for read, column in zip(readers, zip(*rows, strict=True), strict=False)
        )
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]

    def key_values(self, key: Any) -> tuple[Any, ...]:
        """Return the values of a primary key; raises ``RecordNotFoundError`` for what cannot be one."""
        if isinstance(key, Mapping):
            parts: Sequence[Any] = [key[name] for name in self.key] if set(key) == set(self.key) else ()
        else:
            parts = tuple(key) if isinstance(key, tuple | list) else (key,)
        if len(parts) != len(self.key) or any(part is None for part in parts):
            raise self.not_found(key)
        try:
            return tuple(field.read(part) for field, part in zip(self.resource.key, parts, strict=True))
        except ValueError:
            raise self.not_found(key) from None

    def is_record(self, values: Sequence[Any]) -> list[ColumnElement[bool]]:
        """Return the condition that a record has this primary key."""
        return [self.columns[name] == self.bound(name, value) for name, value in zip(self.key, values, strict=True)]

    def not_found(self, key: Any) -> RecordNotFoundError:
        """Return what whoever asked for a record that is not there is told."""
        return RecordNotFoundError(f"there is no {self.resource.name} {str(key)[:100]!r}")

    def accept(self, values: Any, *, creating: bool) -> dict[str, Any]:
        """Return the values as they may be stored; raises ``RecordValuesError`` with every fault, by field."""
        faults = [] if isinstance(values, Mapping) else ["the record: give an object of fields"]
        accepted: dict[str, Any] = {}
        for name, value in (values if not faults else {}).items():
            try:
                accepted[name] = self._accept(name, value, creating)
            except ValueError as error:
                faults.append(f"{str(name)[:100]}: {error}")
        if creating and not faults:
            missing = [field.name for field in self.fields.values() if field.is_required]
            faults += [f"{name}: is missing" for name in missing if name not in accepted]
        if faults:
            raise RecordValuesError(
                f"the values do not fit {self.resource.name}: {'; '.join(faults[:MAX_FAULTS])}",
                faults=faults[:MAX_FAULTS],
            )
        return accepted

    def bound(self, name: str, value: Any) -> Any:
        """Return a Python value as it is bound to the column."""
        if isinstance(value, datetime) and not getattr(self.columns[name].type, "timezone", True):
            return value.replace(tzinfo=None)
        return value

    def writing(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return accepted values for a statement of one record; no value is SQL's null, for JSON too."""
        return {
            self.columns[name].key: null() if value is None else self.bound(name, value)
            for name, value in values.items()
        }

    def bind_type(self, name: str) -> TypeEngine[Any]:
        """Return the type of a parameter that may be None, which is SQL's null for JSON too."""
        kind: Any = self.columns[name].type
        if self.fields[name].kind is Kind.JSON and hasattr(kind, "none_as_null"):
            kind = copy(kind)
            kind.none_as_null = True
        return kind  # type: ignore[no-any-return]

    def _accept(self, name: str, value: Any, creating: bool) -> Any:
        field = self.fields.get(name)
        if field is None:
            meant = nearest(str(name), self.fields)
            raise ValueError("is no field; " + (f"did you mean {meant!r}?" if meant else "see the resource's fields"))
        if field.is_computed:
            raise ValueError("is made by the database")
        if field.is_key and not creating:
            raise ValueError("is part of the primary key, which cannot change")
        accepted = field.accept(value)
        if self.is_sqlite and isinstance(accepted, Decimal) and _digits(accepted) > FLOAT_DIGITS:
            raise ValueError(f"has more than {FLOAT_DIGITS} digits, which SQLite cannot keep")
        return accepted

    def _as_stored(self, name: str) -> ColumnElement[Any]:
        column = self.columns[name]
        return type_coerce(column, NullType()) if self.is_raw(name) else column

    def _reader(self, field: Field) -> Read | None:
        if field.kind is Kind.INSTANT:
            return _instant_of_text if self.is_raw(field.name) else _in_utc
        if field.kind is Kind.DECIMAL and self.is_raw(field.name):
            return _exact(field.scale)
        return None


def misfit(name: str, faults: Sequence[str]) -> RecordValuesError:
    """Return what whoever gave values with these faults is told."""
    told = faults[:MAX_FAULTS]
    return RecordValuesError(f"the values do not fit {name}: {'; '.join(told)}", faults=told)


def _digits(value: Decimal) -> int:
    digits = value.as_tuple().digits
    return len("".join(map(str, digits)).strip("0"))


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is UTC:
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _instant_of_text(value: Any) -> Any:
    return datetime.fromisoformat(f"{value}+00:00") if isinstance(value, str) else value


def _exact(scale: int | None) -> Read:
    """Return what makes the decimal of a number that SQLite keeps: of the scale, or the shortest that is this float."""
    if scale is not None:
        form = f"%.{scale}f"
        return lambda value: Decimal(form % value)

    def read(value: Any) -> Decimal:
        number = Decimal(repr(value) if isinstance(value, float) else value)
        return number.quantize(Decimal(1), context=EXACT) if number == number.to_integral_value() else number

    return read
