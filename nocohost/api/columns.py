"""Reads the columns of a SQLAlchemy table as fields, by the names of their types: nothing here imports SQLAlchemy."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nocohost.api.errors import PluginContractError
from nocohost.api.field import Field, Kind

if TYPE_CHECKING:
    from sqlalchemy import Column, Table

KINDS: Mapping[str, Kind] = {
    "Boolean": Kind.BOOLEAN,
    "Enum": Kind.CHOICE,
    "Float": Kind.FLOAT,
    "Numeric": Kind.DECIMAL,
    "Integer": Kind.INTEGER,
    "String": Kind.TEXT,
    "DateTime": Kind.INSTANT,
    "Date": Kind.DATE,
    "Time": Kind.TIME,
    "Uuid": Kind.UUID,
    "JSON": Kind.JSON,
    "_Binary": Kind.BINARY,
}
"""By the name of a class of SQLAlchemy; of a type's classes the most special decides."""
BITS: Mapping[str, int] = {"SmallInteger": 16, "BigInteger": 64, "Integer": 32}
RESERVED = frozenset({"and", "or", "not"})
"""What a filter means by these is not a field."""


def read_fields(table: "Table", titles: Mapping[str, str], where: str) -> Mapping[str, Field]:
    """Return the fields of ``table`` by name, in its order; ``where`` names the resource in errors.

    Raises ``PluginContractError`` for a column that cannot be shared.
    """
    return MappingProxyType({column.key: _field(column, titles.get(column.key, ""), where) for column in table.columns})


def _field(column: "Column[Any]", title: str, where: str) -> Field:
    place = f"{where}: column {column.key}"
    if column.key in RESERVED:
        raise PluginContractError(f"{place}: filters mean something else by this name", hint="give it another key=")
    kind_of = _stored_as(column.type)
    names = [each.__name__ for each in (*type(kind_of).__mro__, type(column.type))]
    kind = next((KINDS[name] for name in names if name in KINDS), None)
    if kind is Kind.FLOAT and kind_of.asdecimal:
        kind = Kind.DECIMAL
    if kind is Kind.DECIMAL and not kind_of.asdecimal:
        kind = Kind.FLOAT
    if kind is None or "Interval" in names or (kind is Kind.TIME and kind_of.timezone):
        raise PluginContractError(
            f"{place}: values of the type {column.type!r} cannot be shared", hint=f"known: {', '.join(Kind)}"
        )
    has_default = column.default is not None or column.server_default is not None
    is_computed = column.computed is not None or bool(column.identity is not None and column.identity.always)
    is_serial = column.table.autoincrement_column is column
    return Field(
        column.key,
        kind,
        title=title,
        nullable=bool(column.nullable),
        is_key=bool(column.primary_key),
        is_required=not (column.nullable or has_default or is_computed or is_serial),
        is_computed=is_computed,
        bits=next((BITS[name] for name in names if name in BITS), 64),
        length=getattr(kind_of, "length", None) if kind is Kind.TEXT else None,
        precision=kind_of.precision if kind is Kind.DECIMAL else None,
        scale=kind_of.scale if kind is Kind.DECIMAL else None,
        choices=_choices(kind_of) if kind is Kind.CHOICE else MappingProxyType({}),
        as_text=kind is Kind.UUID and not kind_of.as_uuid,
    )


def _stored_as(type_of: Any) -> Any:
    """Return the type behind the decorators of a plugin's own types."""
    while "TypeDecorator" in (each.__name__ for each in type(type_of).__mro__):
        type_of = type_of.impl_instance
    return type_of


def _choices(type_of: Any) -> Mapping[str, Any]:
    members = [*type_of.enum_class.__members__.values()] if type_of.enum_class is not None else type_of.enums
    return MappingProxyType(dict(zip(type_of.enums, members, strict=True)))
