"""Loads one entry point at a time, behind the fence, and remembers which imports never ended."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from importlib import import_module
from importlib.machinery import ModuleSpec
from inspect import getattr_static
from time import perf_counter
from typing import Any, TypeVar

from nocohost.api.errors import PluginError, PluginLoadError
from nocohost.plugins.catalogue import Catalogue
from nocohost.plugins.contract import Implementation, implementations_in
from nocohost.plugins.entry import CatalogueEntry
from nocohost.plugins.fence import call_guest
from nocohost.plugins.requirements import extra_of_module
from nocohost.plugins.verdicts import missing_extra

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Loaded:
    """An entry point that was imported: what it names, how long that took, and the hooks implemented there."""

    value: Any
    seconds: float
    implementations: tuple[Implementation, ...] = ()


class Loader:
    """Imports entry points of one catalogue, each within ``seconds``.

    An import that does not end holds the lock of its module for the rest of the process, and whoever imports that
    module, or anything inside it when it is a package, waits for ever. Entry points that would are refused at once
    instead of after the limit; one that reaches such a module through its own imports still costs the limit.
    """

    def __init__(self, catalogue: Catalogue, seconds: float) -> None:
        self._catalogue = catalogue
        self._seconds = seconds
        self._stuck: dict[str, CatalogueEntry] = {}
        self._took: dict[CatalogueEntry, float] = {}

    def limited_to(self, seconds: float) -> "Loader":
        """Return a loader with another limit, which knows the imports that never ended here."""
        other = Loader(self._catalogue, seconds)
        other._stuck.update(self._stuck)
        return other

    def import_seconds(self, entry: CatalogueEntry) -> float | None:
        """Return how long the import of ``entry`` took, successful or not; None when it was not tried."""
        return self._took.get(entry)

    def examine(self, entry: CatalogueEntry) -> Loaded:
        """Load ``entry`` and find the hooks that it implements; raises like ``load``."""
        loaded = self.load(entry)
        found = self.call(lambda: implementations_in(loaded.value), entry, doing=f"reading of {entry.reference}")
        return replace(loaded, implementations=found)

    def load(self, entry: CatalogueEntry) -> Loaded:
        """Import ``entry`` and return what it names; its hooks are not looked for.

        Raises ``PluginLoadError`` for any failure, the limit included, and ``PluginDisabledError`` when an optional
        library is missing that an extra of the distribution would bring.
        """
        package = entry.module
        while package:
            if package in self._stuck:
                raise PluginLoadError(f"the import of {package} never ended (started for {self._stuck[package]})")
            package = package.rpartition(".")[0]
        started = perf_counter()
        try:
            value = self.call(lambda: _named(entry), entry, doing=f"import of {entry.reference}")
        except PluginLoadError as error:
            raise self._without_library(entry, error) from error.__cause__
        finally:
            self._took[entry] = perf_counter() - started
        return Loaded(value, self._took[entry])

    def call(self, call: Callable[[], T], entry: CatalogueEntry, *, doing: str) -> T:
        """Call into the plugin of ``entry`` within the limit; see ``fence.call_guest``."""

        def abandoned(importing: Sequence[str]) -> None:
            for module in importing:
                self._stuck.setdefault(module, entry)

        return call_guest(call, seconds=self._seconds, doing=doing, abandoned=abandoned)

    def _without_library(self, entry: CatalogueEntry, error: PluginLoadError) -> PluginError:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            requires = self._catalogue.requires.get(entry.distribution, ())
            extra, requirement = extra_of_module(requires, cause.name, self._catalogue.path)
            if extra:
                return missing_extra(entry, extra, requirement)
        return error


def is_imported(entry: CatalogueEntry) -> bool:
    """Tell whether the module of ``entry`` is in this process, whole, whoever imported it."""
    module = sys.modules.get(entry.module)
    spec = getattr_static(module, "__spec__", None)  # what stands there may be no module, and a guest's code
    return module is not None and not (isinstance(spec, ModuleSpec) and getattr(spec, "_initializing", False))


def _named(entry: CatalogueEntry) -> Any:
    module = import_module(entry.module)
    return reduce(getattr, filter(None, entry.attribute.split(".")), module)
