"""Filters: which records are meant. One grammar for the API, code, tasks and workflows, read into one value.

``{"total": {"gt": 100}, "or": [{"state": "open"}, {"due": {"null": true}}]}``: the members of an object hold together,
a bare value means ``eq``, ``and`` and ``or`` take lists, ``not`` takes one filter. Null is a value like any other:
``ne`` and ``nin`` and ``not`` are the exact opposite of ``eq``, ``in`` and what they deny, for null fields too; nothing
else holds of null.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Union

from nocohost.api.errors import ResourceQueryError
from nocohost.api.field import OPAQUE, ORDERED, Field, Kind
from nocohost.api.keys import nearest

MAX_DEPTH = 16
MAX_CONDITIONS = 200
MAX_VALUES = 1000
MAX_FAULTS = 20
MAX_TEXT = 4096


class Operator(StrEnum):
    """What is asked of a field."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GE = "ge"
    LT = "lt"
    LE = "le"
    IN = "in"
    NIN = "nin"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    NULL = "null"


COMPARISONS = frozenset({Operator.GT, Operator.GE, Operator.LT, Operator.LE})
TEXT_SEARCHES = frozenset({Operator.CONTAINS, Operator.STARTS_WITH})
LISTS = frozenset({Operator.IN, Operator.NIN})


@dataclass(frozen=True, slots=True)
class Condition:
    """``field operator value``; the value is of the field's kind in Python, a tuple for ``in`` and ``nin``."""

    field: str
    operator: Operator
    value: Any


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part holds; without parts it holds of every record."""

    parts: tuple["Filter", ...] = ()


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class NotOf:
    """The part does not hold."""

    part: "Filter"


Filter = Union[Condition, AllOf, AnyOf, NotOf]  # noqa: UP007 - the names are not all known yet
EVERYTHING = AllOf()


def operators_of(field: Field) -> tuple[Operator, ...]:
    """Return what may be asked of a field of this kind."""
    if field.kind in OPAQUE:
        return (Operator.NULL,)
    return tuple(
        operator
        for operator in Operator
        if (operator not in COMPARISONS or field.kind in ORDERED)
        and (operator not in TEXT_SEARCHES or field.kind is Kind.TEXT)
    )


def parse_filter(raw: Any, fields: Mapping[str, Field]) -> Filter:
    """Return the filter that the JSON value ``raw`` says, its values typed by ``fields``; None means everything.

    Raises ``ResourceQueryError`` whose ``faults`` name each place: ``or[1].total.gt: 'much' is no decimal``.
    """
    if raw is None:
        return EVERYTHING
    if isinstance(raw, Condition | AllOf | AnyOf | NotOf):
        return raw
    reader = _Reader(fields)
    found = reader.read(raw, "", 1)
    if reader.faults:
        raise ResourceQueryError(
            f"the filter is wrong: {'; '.join(reader.faults[:MAX_FAULTS])}",
            hint="docs/how-to/share-a-table tells the grammar of filters",
            faults=reader.faults[:MAX_FAULTS],
        )
    return found


class _Reader:
    """Reads one filter, and gathers what is wrong with it."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._fields = fields
        self._words: Mapping[str, Callable[[Any, str, int], Filter]] = {
            "and": self._all,
            "or": self._any,
            "not": self._not,
        }
        self._conditions = 0
        self.faults: list[str] = []

    def read(self, raw: Any, path: str, depth: int) -> Filter:
        """Return what the object at ``path`` says."""
        if depth > MAX_DEPTH:
            return self._fault(path, f"nested deeper than {MAX_DEPTH}")
        if not isinstance(raw, Mapping):
            return self._fault(path, f"is a {_json_type(raw)}; give an object of fields")
        parts: list[Filter] = []
        for name, member in raw.items():
            place = f"{path}.{name}" if path else str(name)[:100]
            if name in self._words:
                parts.append(self._words[name](member, place, depth))
            elif name in self._fields:
                parts += self._conditions_of(self._fields[name], member, place)
            else:
                parts.append(self._fault(place, self._unknown(str(name))))
            if len(self.faults) > MAX_FAULTS or self._conditions > MAX_CONDITIONS:
                break
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _all(self, raw: Any, path: str, depth: int) -> Filter:
        return AllOf(self._list(raw, path, depth))

    def _any(self, raw: Any, path: str, depth: int) -> Filter:
        return AnyOf(self._list(raw, path, depth))

    def _not(self, raw: Any, path: str, depth: int) -> Filter:
        return NotOf(self.read(raw, path, depth + 1))

    def _list(self, raw: Any, path: str, depth: int) -> tuple[Filter, ...]:
        if not isinstance(raw, list | tuple) or not raw:
            self._fault(path, "give a list of one or more filters")
            return ()
        if len(raw) > MAX_CONDITIONS:
            self._fault(path, f"has {len(raw)} parts, at most {MAX_CONDITIONS}")
            return ()
        return tuple(self.read(part, f"{path}[{place}]", depth + 1) for place, part in enumerate(raw))

    def _conditions_of(self, field: Field, raw: Any, path: str) -> list[Filter]:
        if not isinstance(raw, Mapping):
            return [self._condition(field, Operator.EQ, raw, path)]
        if not raw:
            return [self._fault(path, f"names no operator; one of: {', '.join(operators_of(field))}")]
        found: list[Filter] = []
        for word, value in raw.items():
            place = f"{path}.{str(word)[:100]}"
            if word not in operators_of(field):
                known = word in set(Operator)
                what = f"cannot be asked of a {field.kind} field" if known else "is no operator"
                found.append(self._fault(place, f"{what}; one of: {', '.join(operators_of(field))}"))
                continue
            found.append(self._condition(field, Operator(word), value, place))
        return found

    def _condition(self, field: Field, operator: Operator, raw: Any, path: str) -> Filter:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            return self._fault(path, f"there are more than {MAX_CONDITIONS} conditions")
        if operator not in operators_of(field) and raw is not None:
            return self._fault(path, f"a {field.kind} field cannot be compared; ask for null")
        try:
            return Condition(field.name, operator, self._value(field, operator, raw))
        except ValueError as error:
            return self._fault(path, str(error))

    def _value(self, field: Field, operator: Operator, raw: Any) -> Any:
        if operator is Operator.NULL:
            if not isinstance(raw, bool):
                raise ValueError("give true or false")
            return raw
        if operator in LISTS:
            if not isinstance(raw, list | tuple | set | frozenset):
                raise ValueError("give a list of values")
            if len(raw) > MAX_VALUES:
                raise ValueError(f"has {len(raw)} values, at most {MAX_VALUES}")
            return tuple(field.read(value) for value in raw)
        if raw is None and operator not in (Operator.EQ, Operator.NE):
            raise ValueError('null is not more or less than anything; ask {"null": true}')
        value = field.read(raw)
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise ValueError(f"has {len(value)} characters, at most {MAX_TEXT}")
        return value

    def _unknown(self, name: str) -> str:
        meant = nearest(name, self._fields)
        return "is no field; " + (f"did you mean {meant!r}?" if meant else f"one of: {', '.join(self._fields)}")

    def _fault(self, path: str, what: str) -> Filter:
        if len(self.faults) <= MAX_FAULTS:
            self.faults.append(f"{path or 'filter'}: {what}")
        return EVERYTHING


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return {str: "string", int: "number", float: "number", list: "list"}.get(type(value), type(value).__name__)
