"""What is installed: every entry point of nocohost's groups, and what metadata alone tells about it.

Reading the catalogue imports no plugin.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from nocohost.api.errors import DuplicateServiceError
from nocohost.api.keys import is_key
from nocohost.plugins.entry import SERVICES
from nocohost.plugins.entry import CatalogueEntry as CatalogueEntry
from nocohost.plugins.entry import Verdict as Verdict
from nocohost.plugins.metadata import Findings, ordered, read_metadata
from nocohost.plugins.ownership import plugin_of
from nocohost.plugins.verdicts import judge


@dataclass(frozen=True)
class Catalogue:
    """Every entry point that is installed; a value, made by ``read_catalogue`` or ``catalogue_of``."""

    entries: tuple[CatalogueEntry, ...] = ()
    """By group in the order of ``entry.GROUPS``, then by name, then by distribution."""
    verdicts: Mapping[CatalogueEntry, Verdict] = field(default_factory=lambda: MappingProxyType({}))
    """The entries that cannot be active anywhere in this environment, and why."""
    requires: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """What each distribution requires, extras included, as its metadata writes it."""
    path: tuple[str, ...] | None = None
    """Where distributions were looked for; None for ``sys.path``."""
    notices: tuple[str, ...] = ()
    """Metadata that could not be read and was left out, and groups that do not exist."""

    @cached_property
    def declared_keys(self) -> frozenset[str]:
        """Return every service key that an installed plugin offers, quarantined ones too.

        A service entry makes its key declared; a job type describes the jobs of a key and declares none.
        """
        return frozenset(entry.name for entry in self.entries if entry.group == SERVICES and is_key(entry.name))

    @cached_property
    def key_owners(self) -> Mapping[str, str]:
        """Return the distribution that offers each declared key; of several, the last by name."""
        return {entry.name: entry.distribution for entry in self.in_group(SERVICES) if is_key(entry.name)}

    @property
    def duplicates(self) -> tuple[DuplicateServiceError, ...]:
        """Return one error for each service key that more than one distribution offers, naming them."""
        errors = (verdict.error for verdict in self.verdicts.values())
        return tuple(dict.fromkeys(error for error in errors if isinstance(error, DuplicateServiceError)))

    def in_group(self, group: str) -> tuple[CatalogueEntry, ...]:
        """Return the entries of one group, in order."""
        return tuple(entry for entry in self.entries if entry.group == group)

    def plugin_of(self, entry: CatalogueEntry) -> str:
        """Return the name of the plugin that ``entry`` belongs to; see ``ownership.plugin_of``."""
        return plugin_of(entry, self.entries)


def read_catalogue(path: Sequence[str] | None = None) -> Catalogue:
    """Read what is installed on ``path`` (``sys.path`` when None) from metadata alone."""
    return _judged(read_metadata(path), path)


def catalogue_of(
    entries: Iterable[CatalogueEntry],
    *,
    requires: Mapping[str, tuple[str, ...]] | None = None,
    path: Sequence[str] | None = None,
) -> Catalogue:
    """Return the catalogue of exactly these entries, judged like installed ones: for tests and for embedding."""
    return _judged(Findings(ordered(entries), requires or {}, ()), path)


def _judged(findings: Findings, path: Sequence[str] | None) -> Catalogue:
    return Catalogue(
        entries=findings.entries,
        verdicts=MappingProxyType(judge(findings, path)),
        requires=MappingProxyType(dict(findings.requires)),
        path=None if path is None else tuple(path),
        notices=findings.notices,
    )
