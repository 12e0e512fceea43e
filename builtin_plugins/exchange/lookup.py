"""Finds the records that cells name, such as the customer called Ada, whose number the order wants."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

if TYPE_CHECKING:
    from nocohost import BlockingApp, Resource

ASKED_AT_ONCE = 1000
KEPT = 100_000
"""So many answers are remembered from chunk to chunk."""


class Lookup:
    """Finds ``by`` of the records of ``resource`` whose ``wanted`` is given; an error in its place says why not."""

    def __init__(self, app: "BlockingApp", resource: "Resource", wanted: str, by: str) -> None:
        self._app = app
        self._resource = resource
        self._wanted = wanted
        self._by = by
        self._known: dict[Hashable, Any] = {}

    def __call__(self, values: Sequence[Hashable]) -> Mapping[Hashable, Any]:
        """Return the key of each value's record."""
        if len(self._known) > KEPT:
            self._known.clear()
        news = [value for value in values if value not in self._known]
        for start in range(0, len(news), ASKED_AT_ONCE):
            self._ask(news[start : start + ASKED_AT_ONCE])
        return {value: self._known[value] for value in values}

    def _ask(self, values: Sequence[Hashable]) -> None:
        name, bulk = self._resource.name, self._app.resources.bulk
        fields = (self._wanted, self._by)
        column = self._resource.table.columns[self._wanted]
        with self._app.database.connect() as connection:
            rows = connection.execute(select(*bulk.columns(name, fields)).where(column.in_(values))).all()
        found: dict[Hashable, Any] = {}
        for record in bulk.records(name, rows, fields):
            value = record[self._wanted]
            if value in found:
                found[value] = ValueError(f"names more than one record of {name}")
            else:
                found[value] = record[self._by]
        for value in values:
            missing = ValueError(f"there is no record of {name} whose {self._wanted} is this")
            self._known[value] = found.get(value, missing)
