"""A migration set as its files show it: revisions and their order, read without importing Alembic or the files."""

import ast
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Protocol

from nocohost.api.errors import PluginContractError, PluginError
from nocohost.api.version import VERSION

CORE = "nocohost"


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
        return f"{self.plugin.replace('-', '_')}_alembic"

    def revisions(self) -> Mapping[str, str | None]:
        """Return each revision and the one below it; raises ``PluginContractError`` for a file that has none."""
        found: dict[str, str | None] = {}
        for file in sorted(self.directory.glob("[!_]*.py")):
            values = _constants(file)
            if not isinstance(values.get("revision"), str):
                raise PluginContractError(f"{file.name} of {self.plugin}: no revision = '...'")
            found[values["revision"]] = values.get("down_revision")
        return found

    def head(self) -> str | None:
        """Return the last revision, None for an empty set; raises ``PluginContractError`` when there are several."""
        revisions = self.revisions()
        heads = revisions.keys() - set(revisions.values())
        if len(heads) > 1 or (revisions and not heads):
            raise PluginContractError(f"the migrations of {self.plugin} have {len(heads)} heads: {sorted(heads)}")
        return next(iter(heads), None)


def core_migrations() -> MigrationSet:
    """Return the migration set of nocohost's own tables."""
    return _of_package(CORE, CORE, VERSION, Path(__file__).parent / "migrations")


def migration_sets(entries: Iterable[MigrationsEntry]) -> tuple[list[MigrationSet], dict[str, PluginError]]:
    """Return the installed plugins' migration sets, and why others could not be read. Imports none of them."""
    sets, failures = [], {}
    for entry in entries:
        try:
            sets.append(_of_package(entry.name, entry.distribution, entry.version, _folder(entry.module)))
        except PluginError as error:
            failures[entry.name] = error
    return sets, failures


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
    runnable_from = _constants(folder / "__init__.py").get("RUNNABLE_FROM")
    if not isinstance(runnable_from, str):
        raise PluginContractError(f"the migrations of {plugin} say no RUNNABLE_FROM = '<version>'")
    return MigrationSet(plugin, distribution, version, folder / "versions", runnable_from)


def _constants(file: Path) -> dict[str, Any]:
    try:
        tree = ast.parse(file.read_text("utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise PluginContractError(f"{file.name} cannot be read: {error}") from error
    return dict(item for statement in tree.body for item in _assigned(statement))


def _assigned(statement: ast.stmt) -> Iterable[tuple[str, Any]]:
    if isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets, value = [statement.target], statement.value
    else:
        return
    for target in targets:
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
            yield target.id, value.value
