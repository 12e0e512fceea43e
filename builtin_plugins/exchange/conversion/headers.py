"""What the titles of a file mean: each a field of the resource, by the mapping, by its title or by its name."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from builtin_plugins.exchange.errors import ImportRefusedError
from nocohost import Field, Resource

MAX_FAULTS = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """Which columns of a file go into which fields."""

    places: tuple[int, ...]
    """Of the columns that are imported, in the order of the file."""
    titles: tuple[str, ...]
    fields: tuple[Field, ...]
    ignored: tuple[str, ...]
    """Titles of columns that are not."""


def match_titles(
    titles: Sequence[str],
    resource: Resource,
    mapping: Mapping[str, str | None],
    *,
    needed: Collection[str],
    ignore_unknown: bool = False,
) -> Plan:
    """Return what each title means; raises ``ImportRefusedError`` with every fault.

    ``mapping`` says of a title the name of its field, None for a column that is not imported. ``needed`` are the fields
    that must be among them.
    """
    faults = [f"{title[:60]!r} is mapped, but no column is called so" for title in mapping if title not in titles]
    meant: dict[str, list[int]] = {}
    ignored: list[str] = []
    for place, title in enumerate(titles):
        name = mapping[title] if title in mapping else _name_of(title, resource)
        is_last = not any(map(str.strip, titles[place:]))
        if name and name in resource.fields:
            meant.setdefault(name, []).append(place)
        elif (title in mapping and not name) or (title not in mapping and (ignore_unknown or is_last)):
            ignored.append(title)
        else:
            faults.append(_fault(place, title, mapping.get(title), resource))
    faults += _contradictions(meant, titles, resource)
    faults += [f"there is no column for {_called(resource.fields[name])}" for name in needed if name not in meant]
    if faults:
        raise ImportRefusedError(
            f"the columns do not fit {resource.name}: {'; '.join(faults[:MAX_FAULTS])}",
            code="exchange.columns",
            hint="fields: " + ", ".join(_called(field) for field in resource.fields.values() if not field.is_computed),
        )
    chosen = sorted((places[0], name) for name, places in meant.items())
    if not chosen:
        raise ImportRefusedError(f"no column of the file is imported into {resource.name}", code="exchange.columns")
    return Plan(
        tuple(place for place, _ in chosen),
        tuple(titles[place] for place, _ in chosen),
        tuple(resource.fields[name] for _, name in chosen),
        tuple(ignored),
    )


def _fault(place: int, title: str, mapped: str | None, resource: Resource) -> str:
    if mapped:
        return f"{title[:60]!r} is mapped to {mapped[:60]!r}, which is no field{_near(mapped, resource)}"
    if not title.strip():
        return f"column {place + 1} has no title"
    return f"{title[:60]!r} is no field of {resource.name}{_near(title, resource)}"


def _contradictions(meant: Mapping[str, Sequence[int]], titles: Sequence[str], resource: Resource) -> Iterator[str]:
    for name, places in meant.items():
        if len(places) > 1:
            shown = " and ".join(f"{titles[place][:60]!r} (column {place + 1})" for place in places[:5])
            yield f"{shown} all mean {name}"
        if resource.fields[name].is_computed:
            yield f"{titles[places[0]][:60]!r}: {name} is made by the database; map it to null to leave it out"


def _name_of(title: str, resource: Resource) -> str | None:
    """Return the field that people call so: by title, by name, and by either without regard to case and blanks."""
    names = [(field.title, field.name) for field in resource.fields.values() if field.title]
    names += [(name, name) for name in resource.fields]
    exact = next((name for called, name in names if called == title), None)
    return exact or next((name for called, name in names if _folded(called) == _folded(title)), None)


def _folded(text: str) -> str:
    return " ".join(text.casefold().replace("_", " ").split())


def _near(text: str, resource: Resource) -> str:
    known = {_folded(name): name for field in resource.fields.values() for name in (field.name, field.title) if name}
    found = get_close_matches(_folded(text[:100]), known, n=1)
    return f"; did you mean {known[found[0]]!r}?" if found else ""


def _called(field: Field) -> str:
    return f"{field.name} ({field.title})" if field.title else field.name
