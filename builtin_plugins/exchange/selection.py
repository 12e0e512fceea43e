"""The columns of an export: fields of the resource, and of records that it refers to, under the titles asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nocohost import Field, Resource

if TYPE_CHECKING:
    from sqlalchemy import Select

    from nocohost import BlockingApp


@dataclass(frozen=True, slots=True)
class ExportColumn:
    """One column: a ``field`` of ``resource``, which the field ``through`` refers to, or which is exported itself."""

    name: str
    title: str
    field: Field
    resource: Resource
    through: str | None = None


def select_columns(
    resource: Resource,
    declared: Mapping[str, Resource],
    names: Sequence[str] | None,
    titles: bool | Mapping[str, str],
) -> tuple[ExportColumn, ...]:
    """Return the columns of an export; raises ``ValueError`` naming every field that is none."""
    faults, columns = [], []
    wanted = list(names or resource.fields)
    faults += [f"fields: {name!r} is there twice" for name in sorted({one for one in wanted if wanted.count(one) > 1})]
    for name in wanted:
        try:
            columns.append(_column(resource, declared, name, titles))
        except ValueError as error:
            faults.append(f"fields: {error}")
    if isinstance(titles, Mapping):
        faults += [f"titles: {name!r} is not exported" for name in titles if name not in wanted]
    if faults:
        raise ValueError("; ".join(faults))
    return tuple(columns)


def statement_of(
    app: "BlockingApp", resource: Resource, columns: Sequence[ExportColumn], wanted: Any, sort: Any
) -> "Select[Any]":
    """Return the statement that selects ``columns``, in their order, of the records that fit."""
    bulk = app.resources.bulk
    own = [column.name for column in columns if column.through is None]
    statement = bulk.select(resource.name, filter=wanted, sort=sort, fields=own or [resource.key[0].name])
    selected = dict(zip(own, bulk.columns(resource.name, own), strict=True))
    aliases: dict[str, Any] = {}
    source: Any = resource.table
    for column in columns:
        if column.through is None:
            continue
        if column.through not in aliases:
            other = column.resource.table.alias()
            reference = resource.table.columns[column.through]
            by = next(key.column.key for key in reference.foreign_keys if key.column.table is column.resource.table)
            source = source.outerjoin(other, reference == other.columns[by])
            aliases[column.through] = other
        stored = bulk.columns(column.resource.name, [column.field.name])[0]
        selected[column.name] = _of_alias(stored, column, aliases[column.through])
    return statement.with_only_columns(*(selected[column.name] for column in columns)).select_from(source)


def _column(
    resource: Resource, declared: Mapping[str, Resource], name: str, titles: bool | Mapping[str, str]
) -> ExportColumn:
    through, dot, wanted = name.partition(".")
    if not dot:
        if name not in resource.fields:
            raise ValueError(f"{name!r} is no field of {resource.name}")
        field = resource.fields[name]
        return ExportColumn(name, _title(name, field.title, titles), field, resource)
    other = _referred(resource, declared, through)
    if wanted not in other.fields:
        raise ValueError(f"{wanted!r} is no field of {other.name}, to which {through!r} refers")
    field = other.fields[wanted]
    first = resource.fields[through].title or through
    return ExportColumn(name, _title(name, f"{first}: {field.title or wanted}", titles), field, other, through)


def _referred(resource: Resource, declared: Mapping[str, Resource], name: str) -> Resource:
    if name not in resource.fields:
        raise ValueError(f"{name!r} is no field of {resource.name}")
    tables = [
        key.column.table
        for key in resource.table.columns[name].foreign_keys
        if key.constraint is None or len(key.constraint.elements) == 1
    ]
    found = next((other for table in tables for other in declared.values() if other.table is table), None)
    if found is None:
        raise ValueError(f"{name!r} refers to no resource")
    return found


def _title(name: str, title: str, titles: bool | Mapping[str, str]) -> str:
    if isinstance(titles, Mapping):
        return titles.get(name, title or name)
    return (title or name) if titles else name


def _of_alias(stored: Any, column: ExportColumn, other: Any) -> Any:
    """Return what ``stored`` is of the alias: the column, or the column in the form in which the database keeps it."""
    from sqlalchemy import type_coerce

    plain = other.columns[column.field.name]
    return plain if stored is column.resource.table.columns[column.field.name] else type_coerce(plain, stored.type)
