"""Reads the metadata of installed distributions. Imports no plugin, and survives metadata that cannot be read."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions

from nocohost.api.keys import nearest
from nocohost.plugins.entry import GROUPS, CatalogueEntry

REFERENCE = re.compile(r"(?P<module>[\w.]+)\s*(?::\s*(?P<attribute>[\w.]+)\s*)?(?:\[(?P<extras>[^\]]*)\]\s*)?")
"""``package.module:attribute [extra, extra]``; the standard library's own reading splits extras at hyphens."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the metadata says, not judged yet."""

    entries: tuple[CatalogueEntry, ...]
    """By group, then by name, then by distribution; exact repetitions count once."""
    requires: Mapping[str, tuple[str, ...]]
    """What each distribution with entry points requires, extras included, as its metadata writes it."""
    notices: tuple[str, ...]
    """Metadata that could not be read and was left out, and groups that do not exist."""


def read_metadata(path: Sequence[str] | None = None) -> Findings:
    """Read the entry points of every distribution on ``path`` (``sys.path`` when None).

    A distribution that is there twice counts once: the first on the path wins, as it does for ``import``.
    """
    where = list(sys.path if path is None else path)
    entries: list[CatalogueEntry] = []
    requires: dict[str, tuple[str, ...]] = {}
    notices: dict[str, None] = {}
    for name in _distributions_with_plugins(where, notices):
        first = next(iter(distributions(name=name, path=where)), None)
        if first is None:
            continue
        try:
            found = list(_entries_of(first, name))
            requires[name] = tuple(first.requires or ())
            notices |= dict.fromkeys(_misspelt_groups(first, name))
        except (OSError, TypeError, ValueError) as error:
            notices[f"{name}: its metadata cannot be read and was left out: {error}"] = None
        else:
            entries += found
    return Findings(ordered(entries), requires, tuple(notices))


def ordered(entries: Iterable[CatalogueEntry]) -> tuple[CatalogueEntry, ...]:
    """Return the entries in the order of the catalogue, exact repetitions once."""
    return tuple(
        sorted(
            set(entries), key=lambda entry: (GROUPS.index(entry.group), entry.name, entry.distribution, entry.module)
        )
    )


def _distributions_with_plugins(path: list[str], notices: dict[str, None]) -> dict[str, None]:
    """Return the normalised names of distributions that mention one of the groups, in the order of the path.

    Most installed distributions do not; their other metadata is never parsed.
    """
    names: dict[str, None] = {}
    for distribution in distributions(path=path):
        where = distribution.locate_file("")
        try:
            if "[nocohost" not in (distribution.read_text("entry_points.txt") or ""):
                continue
            # A broken removal leaves folders without METADATA behind; there is no name, and nothing to import.
            known = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO")
            name = distribution.metadata["Name"] if known else None
        except (OSError, ValueError) as error:
            notices[f"{where}: metadata that cannot be read was left out: {error}"] = None
            continue
        if name:
            names[re.sub(r"[-_.]+", "-", name).lower()] = None
        else:
            notices[f"{where}: a distribution without a name was left out"] = None
    return names


def _misspelt_groups(distribution: Distribution, name: str) -> Iterator[str]:
    """Yield a notice for each group that nobody reads: its entry points would be installed and never seen."""
    for group in sorted({point.group for point in distribution.entry_points}):
        if (group == "nocohost" or group.startswith("nocohost.")) and group not in GROUPS:
            suggestion = nearest(group.removeprefix("nocohost."), [one.removeprefix("nocohost.") for one in GROUPS])
            hint = f"; did it mean nocohost.{suggestion}?" if suggestion else ""
            yield f"{name}: there is no entry-point group {group}{hint}"


def _entries_of(distribution: Distribution, name: str) -> Iterator[CatalogueEntry]:
    version = distribution.metadata["Version"] or "0"  # parsed anew at each look
    for point in distribution.entry_points:
        if point.group in GROUPS:
            match = REFERENCE.fullmatch(point.value.strip())
            parts = match.groupdict() if match else {}
            extras = [extra.strip() for extra in (parts.get("extras") or "").split(",")]
            yield CatalogueEntry(
                group=point.group,
                name=point.name,
                distribution=name,
                version=version,
                module=parts.get("module") or "",
                attribute=parts.get("attribute") or "",
                extras=tuple(extra for extra in extras if extra),
            )
