"""Plugins made of functions, known to this process as if they were installed; nothing on disk."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from probes.fake_app import FakeApp, ListLog

from nocohost.api.mode import WorkerMode
from nocohost.plugins.activation import Activation, activate
from nocohost.plugins.catalogue import CatalogueEntry, catalogue_of
from nocohost.plugins.declarations import Declarations, load_declarations

MakeGuest = Callable[..., CatalogueEntry]


@pytest.fixture
def make_guest(monkeypatch: pytest.MonkeyPatch) -> MakeGuest:
    """Make an entry point whose module holds the given functions, and return it."""

    def make_guest(group: str, name: str, *functions: Any, distribution: str = "acme", **named: Any) -> CatalogueEntry:
        module = f"{distribution}_{group}_{name}".replace(":", "_").replace("/", "_").replace("-", "_")
        made = ModuleType(module)
        vars(made).update({function.__name__: function for function in functions} | named)
        monkeypatch.setitem(sys.modules, module, made)
        return CatalogueEntry(f"nocohost.{group}", name, distribution, "1.0", module)

    return make_guest


class Stage:
    """A catalogue of guests, loaded and activated the way a node does it."""

    def __init__(self, *entries: CatalogueEntry, **plugin_settings: dict[str, Any]) -> None:
        self.log = ListLog()
        self.catalogue = catalogue_of(entries)
        self.declarations: Declarations = load_declarations(
            self.catalogue, import_seconds=5, plugin_settings=plugin_settings, log=self.log
        )

    def activate(self, mode: WorkerMode = WorkerMode()) -> Activation:  # noqa: B008 - a frozen value
        hooks = self.declarations.node_hooks(self.log)
        self.app = FakeApp(mode, self.declarations, hooks=hooks, keys=self.catalogue.declared_keys, log=self.log)
        return activate(mode, self.catalogue, self.declarations, self.app, import_seconds=5, log=self.log, hooks=hooks)


@pytest.fixture
def stage() -> type[Stage]:
    """Return what puts guests on a stage: ``stage(*entries, plugin={"setting": "text"})``."""
    return Stage
