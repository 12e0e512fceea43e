"""Which plugin an entry point belongs to, and which declarations govern it.

A distribution usually holds one plugin, named by its declarations entry. One that holds several (as nocohost's own
does) tells them apart by where their modules live.
"""

from collections.abc import Sequence

from nocohost.api.keys import namespace_of
from nocohost.node.plugin_name import plugin_slug
from nocohost.plugins.entry import DECLARATIONS, NAMED_BY_PLUGIN, CatalogueEntry


def declarations_of(entry: CatalogueEntry, entries: Sequence[CatalogueEntry]) -> CatalogueEntry | None:
    """Return the declarations entry that governs ``entry``: when that one fails, this one is quarantined with it.

    It is of the same distribution. Of several, the one of the same name, else the one whose module shares the longest
    package with this one's, else the one named like the namespace of the service key. None when there is none, or
    when nothing tells which.
    """
    candidates = [
        other for other in entries if other.group == DECLARATIONS and other.distribution == entry.distribution
    ]
    if entry.group in NAMED_BY_PLUGIN:
        same = [other for other in candidates if plugin_slug(other.name) == plugin_slug(entry.name)]
        candidates = same or candidates
    if len(candidates) > 1:
        longest = max(_shared_packages(other.module, entry.module) for other in candidates)
        near = [other for other in candidates if _shared_packages(other.module, entry.module) == longest]
        namespace = plugin_slug(namespace_of(entry.key) or entry.name)
        candidates = near if len(near) == 1 else [other for other in near if plugin_slug(other.name) == namespace]
    return candidates[0] if candidates else None


def plugin_of(entry: CatalogueEntry, entries: Sequence[CatalogueEntry]) -> str:
    """Return the name of the plugin that ``entry`` belongs to.

    In the groups named by plugin it is the entry's own name; otherwise the name of the declarations that govern the
    entry; without any, the name of its distribution.
    """
    if entry.group in NAMED_BY_PLUGIN:
        return entry.name
    governing = declarations_of(entry, entries)
    return entry.distribution if governing is None else governing.name


def _shared_packages(left: str, right: str) -> int:
    shared = 0
    for one, other in zip(left.split(".")[:-1], right.split(".")[:-1], strict=False):
        if one != other:
            break
        shared += 1
    return shared
