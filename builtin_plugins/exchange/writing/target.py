"""Where rows go, and how those are found that are there already."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Column, Table, UniqueConstraint

from builtin_plugins.exchange.mode import Mode
from nocohost import Field, Resource


@dataclass(frozen=True, slots=True)
class Target:
    """The fields that an import fills, in the order of its columns, and the key by which it finds records."""

    resource: Resource
    mode: Mode
    fields: tuple[Field, ...]
    key: tuple[str, ...]

    @property
    def table(self) -> Table:
        """Return the table."""
        return self.resource.table

    def column(self, name: str) -> "Column[Any]":
        """Return the column of a field."""
        return self.table.columns[name]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the fields."""
        return tuple(field.name for field in self.fields)

    @property
    def changed(self) -> tuple[str, ...]:
        """Return the fields that an update sets: neither the key that it goes by, nor a primary key, ever changes."""
        return tuple(field.name for field in self.fields if field.name not in self.key and not field.is_key)

    @property
    def is_unique(self) -> bool:
        """Tell whether the table says, of each statement, that no two records have one key."""
        wanted = {self.column(name).name for name in self.key}
        sets = [{column.name for column in self.table.primary_key.columns}]
        sets += [{column.name} for column in self.table.columns if column.unique]
        sets += [
            {column.name for column in constraint.columns}
            for constraint in self.table.constraints
            if isinstance(constraint, UniqueConstraint) and not constraint.deferrable
        ]
        sets += [
            {column.name for column in index.columns}
            for index in self.table.indexes
            if index.unique and not index.dialect_kwargs and set(index.expressions) == set(index.columns)
        ]
        return wanted in sets

    @property
    def generated(self) -> Mapping[str, Callable[[], Any]]:
        """Return what the table makes in Python of the fields that the file does not have, by name."""
        found: dict[str, Callable[[], Any]] = {}
        for name, column in self.table.columns.items():
            default: Any = column.default
            if name in self.names or default is None:
                continue
            if default.is_scalar:
                found[name] = partial(_same, default.arg)
            elif default.is_callable:
                found[name] = partial(default.arg, None)
        return found

    @property
    def has_expressions(self) -> bool:
        """Tell whether the table makes fields that the file does not have by SQL that only a statement can run."""
        defaults: Sequence[Any] = [
            column.default for name, column in self.table.columns.items() if name not in self.names
        ]
        return any(default is not None and (default.is_clause_element or default.is_sequence) for default in defaults)

    @property
    def renewed(self) -> Mapping[str, Any]:
        """Return what the table sets at every update of the fields that the file does not have, by name."""
        found: dict[str, Any] = {}
        for name, column in self.table.columns.items():
            setting: Any = column.onupdate
            if setting is not None and name not in self.names:
                found[name] = setting.arg(None) if setting.is_callable else setting.arg
        return found


def _same(value: Any) -> Any:
    return value
