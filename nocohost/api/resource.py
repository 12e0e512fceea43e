"""Resources: tables that a plugin shares with the API, with tasks and with workflows. Data, no behaviour."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nocohost.api.columns import read_fields
from nocohost.api.errors import PluginContractError
from nocohost.api.field import Field
from nocohost.api.keys import nearest
from nocohost.api.routes import PERMISSION

if TYPE_CHECKING:
    from sqlalchemy import Table

NAME = re.compile(r"[a-z][a-z0-9_-]*\.[a-z][a-z0-9_-]*")
MAX_NAME = 200


@dataclass(frozen=True)
class Resource:
    """A table that others may list, read and write, declared with ``register_resources``.

    ``name`` reads ``plugin.noun``. ``read`` and ``write`` are the permissions that the API asks; code that has the app
    is asked for none. ``field_titles`` say how people call the fields. Raises ``PluginContractError`` for a table
    without primary key, a name or permission of another form, a title of no field, and a type that has no JSON.
    """

    name: str
    table: "Table"
    title: str = field(default="", kw_only=True)
    field_titles: Mapping[str, str] = field(default_factory=dict, kw_only=True, hash=False)
    read: str = field(default="", kw_only=True)
    write: str = field(default="", kw_only=True)
    fields: Mapping[str, Field] = field(init=False, repr=False, compare=False)
    """What the table holds, by name, in its order."""
    key: tuple[Field, ...] = field(init=False, repr=False, compare=False)
    """The fields of the primary key, in its order."""

    def __post_init__(self) -> None:
        where = f"resource {str(self.name)[:MAX_NAME]!r}"
        if not isinstance(self.name, str) or len(self.name) > MAX_NAME or not NAME.fullmatch(self.name):
            raise PluginContractError(f"{where}: not a name", hint="a resource is named plugin.noun")
        for what, permission in (("read", self.read), ("write", self.write)):
            if not permission:
                raise PluginContractError(f"{where}: says not who may {what} it", hint=f'give {what}="noun.verb"')
            if not isinstance(permission, str) or not PERMISSION.fullmatch(permission):
                raise PluginContractError(
                    f"{where}: {permission!r} is no permission", hint="a permission reads noun.verb"
                )
        if not hasattr(self.table, "primary_key"):
            raise PluginContractError(f"{where}: {type(self.table).__name__} is no SQLAlchemy Table")
        if not self.table.primary_key.columns:
            raise PluginContractError(
                f"{where}: the table {self.table.name} has no primary key",
                hint="records are found by it; give one or more columns primary_key=True",
            )
        fields = read_fields(self.table, self.field_titles, where)
        self._check_titles(fields, where)
        object.__setattr__(self, "fields", fields)
        object.__setattr__(self, "key", tuple(fields[column.key] for column in self.table.primary_key.columns))

    def show(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record, or some of its fields, as JSON has it: decimals as exact strings, instants with ``Z``."""
        fields = self.fields
        return {name: fields[name].show(value) for name, value in record.items()}

    def _check_titles(self, fields: Mapping[str, Field], where: str) -> None:
        for name in self.field_titles:
            if name not in fields:
                meant = nearest(str(name), fields)
                raise PluginContractError(
                    f"{where}: there is a title for {name!r}, which is no field of {self.table.name}",
                    hint=f"did you mean {meant!r}?" if meant else f"its fields: {', '.join(fields)}",
                )
