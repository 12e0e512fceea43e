"""The order and the fields that a list is asked for: ``-total,id`` means by total, greatest first, then by id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nocohost.api.errors import ResourceQueryError
from nocohost.api.field import SORTABLE, Field
from nocohost.api.keys import nearest

MAX_SORT_KEYS = 8


@dataclass(frozen=True, slots=True)
class SortKey:
    """One field to sort by. Null counts as greater than every value."""

    field: str
    descending: bool = False


def parse_sort(raw: str | Sequence[str] | None, fields: Mapping[str, Field]) -> tuple[SortKey, ...]:
    """Return the sort keys that ``raw`` says, as text with commas or a list; raises ``ResourceQueryError``."""
    faults: list[str] = []
    found: list[SortKey] = []
    for word in _words(raw):
        name = word.removeprefix("-")
        if name not in fields:
            faults.append(_unknown("sort", name, fields))
        elif fields[name].kind not in SORTABLE:
            faults.append(f"sort: {name} is a {fields[name].kind} field, which has no order")
        elif any(key.field == name for key in found):
            faults.append(f"sort: {name} is given twice")
        else:
            found.append(SortKey(name, word.startswith("-")))
    if len(found) > MAX_SORT_KEYS:
        faults.append(f"sort: {len(found)} keys, at most {MAX_SORT_KEYS}")
    _refuse(faults)
    return tuple(found)


def parse_names(raw: str | Sequence[str] | None, fields: Mapping[str, Field]) -> tuple[str, ...]:
    """Return the fields that ``raw`` names, in its order, each once; all without any. Raises ``ResourceQueryError``."""
    names = tuple(dict.fromkeys(_words(raw)))
    _refuse([_unknown("fields", name, fields) for name in names if name not in fields])
    return names or tuple(fields)


def _words(raw: str | Sequence[str] | None) -> Sequence[str]:
    if raw is None:
        return ()
    if isinstance(raw, str):
        return [word.strip() for word in raw.split(",")] if raw else ()
    return [str(word) for word in raw]


def _unknown(what: str, name: str, fields: Mapping[str, Field]) -> str:
    meant = nearest(name[:100], fields)
    return f"{what}: {name[:100]!r} is no field; " + (
        f"did you mean {meant!r}?" if meant else f"one of: {', '.join(fields)}"
    )


def _refuse(faults: Sequence[str]) -> None:
    if faults:
        raise ResourceQueryError(f"the list cannot be made: {'; '.join(faults[:20])}", faults=faults[:20])
