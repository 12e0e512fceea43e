"""A migration set as its files show it: revisions and their order, read without importing Alembic or the files."""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from packaging.version import Version

from nocohost.api.errors import PluginContractError, PluginError
from nocohost.api.version import VERSION
from nocohost.node.plugin_name import plugin_slug
from nocohost.node.terms import quoted

CORE = "nocohost"


NAME = re.compile(r"[a-z][a-z0-9_-]{0,49}")
"""What may become a part of a table's name, of at most 63 bytes."""


class MigrationsEntry(Protocol):
    """An entry point of ``nocohost.migrations``, as the catalogue gives it."""

    @property
    def name(self) -> str:
        """Return the plugin."""

    @property
    def distribution(self) -> str:
        """Return the distribution."""

    @property
    def version(self) -> str:
        """Return the version of the distribution."""

    @property
    def module(self) -> str:
        """Return the package that holds ``versions/``."""


@dataclass(frozen=True)
class MigrationSet:
    """The revisions of one plugin, or of nocohost itself."""

    plugin: str
    distribution: str
    version: str
    directory: Path
    """The folder with the revision files."""
    runnable_from: str
    """The oldest version of the distribution that may still run once the set is applied."""

    @property
    def version_table(self) -> str:
        """Return the table in which Alembic notes where the database stands."""
        return _version_table(self.plugin)

    def revisions(self) -> Mapping[str, tuple[str, ...]]:
        """Return each revision and those just below it; raises ``PluginContractError`` for a file that has none."""
        found: dict[str, tuple[str, ...]] = {}
        for file in sorted(self.directory.glob("[!_]*.py")):
            values = _constants(file)
            if not isinstance(values.get("revision"), str):
                raise PluginContractError(f"{file.name} of {self.plugin}: no revision = '...'")
            if "down_revision" not in values:
                raise PluginContractError(f"{file.name} of {self.plugin}: no down_revision = '...' or None")
            below = values["down_revision"] or ()
            below = (below,) if isinstance(below, str) else below
            if not isinstance(below, tuple | list) or not all(isinstance(revision, str) for revision in below):
                raise PluginContractError(f"{file.name} of {self.plugin}: down_revision names no revision")
            found[values["revision"]] = tuple(below)
        return found

    def head(self) -> str | None:
        """Return the last revision, None for an empty set; raises ``PluginContractError`` when there are several."""
        revisions = self.revisions()
        named = set(chain.from_iterable(revisions.values()))
        if unknown := named - revisions.keys():
            raise PluginContractError(f"the migrations of {self.plugin} have no revision {min(unknown)!r} to build on")
        heads = revisions.keys() - named
        if len(heads) > 1 or (revisions and not heads):
            raise PluginContractError(f"the migrations of {self.plugin} have {len(heads)} heads: {sorted(heads)}")
        return next(iter(heads), None)


def core_migrations() -> MigrationSet:
    """Return the migration set of nocohost's own tables."""
    return _of_package(CORE, CORE, VERSION, Path(__file__).parent / "migrations")


def migration_sets(entries: Iterable[MigrationsEntry]) -> tuple[list[MigrationSet], dict[str, PluginError]]:
    """Return the installed plugins' migration sets, and why others could not be read. Imports none of them."""
    sets: dict[str, MigrationSet] = {}
    failures: dict[str, PluginError] = {}
    listed = list(entries)
    tables = Counter(_version_table(entry.name) for entry in listed)
    for entry in listed:
        try:
            if not NAME.fullmatch(entry.name) or entry.name == CORE:
                raise PluginContractError(f"{entry.distribution}: {entry.name!r} cannot be the name of migrations")
            if tables[_version_table(entry.name)] > 1:
                raise PluginContractError(f"several installed distributions bring migrations of {entry.name}")
            found = _of_package(entry.name, entry.distribution, entry.version, _folder(entry.module))
            found.head()
            sets[entry.name] = found
        except PluginError as error:
            failures[entry.name] = error
    return list(sets.values()), failures


def _folder(package: str) -> Path:
    """Find the folder of ``package`` by its parents' search paths, as an import would, but executing nothing."""
    path: Sequence[str] | None = None
    parts = package.split(".")
    for end in range(1, len(parts) + 1):
        spec = _find(".".join(parts[:end]), path)
        if spec is None or not spec.submodule_search_locations:
            raise PluginContractError(f"nocohost.migrations names {package}, which is no installed package")
        path = list(spec.submodule_search_locations)
    return Path(path[0]) if path else Path()


def _find(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    found = (finder.find_spec(name, path) for finder in sys.meta_path)
    return next((spec for spec in found if spec is not None), None)


def _of_package(plugin: str, distribution: str, version: str, folder: Path) -> MigrationSet:
    file = folder / "__init__.py"
    runnable_from = _constants(file).get("RUNNABLE_FROM")
    hint = f"write RUNNABLE_FROM = '<the oldest version that may still run>' in {file}"
    if not isinstance(runnable_from, str):
        raise PluginContractError(f"the migrations of {plugin} say no RUNNABLE_FROM", hint=hint)
    if not _is_version(runnable_from):
        raise PluginContractError(f"the migrations of {plugin}: {quoted(runnable_from)} is no version", hint=hint)
    if not _is_version(version):
        raise PluginContractError(f"the migrations of {plugin}: {distribution} has {quoted(version)} as its version")
    return MigrationSet(plugin, distribution, version, folder / "versions", runnable_from)


def _is_version(text: str) -> bool:
    try:
        return bool(Version(text))
    except ValueError:  # InvalidVersion is one; so are more digits than Python reads as a number
        return False


def _version_table(plugin: str) -> str:
    return f"{plugin_slug(plugin)}_alembic"


def _constants(file: Path) -> dict[str, Any]:
    try:
        tree = ast.parse(file.read_text("utf-8"), file.name)
    except (OSError, SyntaxError, ValueError, MemoryError, RecursionError) as error:  # the last two: nested too deep
        raise PluginContractError(f"{file} cannot be read: {error or 'it is nested too deep'}") from error
    return dict(item for statement in tree.body for item in _assigned(statement))


def _assigned(statement: ast.stmt) -> Iterable[tuple[str, Any]]:
    if isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets, value = [statement.target], statement.value
    else:
        return
    for target in targets:
        if isinstance(target, ast.Name):
            with suppress(ValueError, TypeError, MemoryError, RecursionError):  # computed: as good as not there
                yield target.id, ast.literal_eval(value)
