"""Imports with a limit, and the memory of those that never ended."""

import sys
import threading
from collections.abc import Iterator
from importlib.abc import Loader as ModuleLoader
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from nocohost.api.errors import PluginDisabledError, PluginLoadError
from nocohost.plugins.catalogue import CatalogueEntry, catalogue_of
from nocohost.plugins.loading import Loader, is_imported


class Hanging(ModuleLoader):
    """Finds the package ``stuck`` and everything in it; importing ``stuck.hangs`` waits for ``release``."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] == "stuck" else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        source = "wait()" if module.__name__ == "stuck.hangs" else ""
        module.__dict__["wait"] = self.release.wait
        exec(compile(source, f"<{module.__name__}>", "exec"), module.__dict__)


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    finder = Hanging()
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    yield finder
    finder.release.set()
    for thread in threading.enumerate():
        if thread.name.startswith("nocohost:"):
            thread.join(5)
    for name in [name for name in sys.modules if name.partition(".")[0] == "stuck"]:
        del sys.modules[name]


def entry(name: str, module: str, attribute: str = "") -> CatalogueEntry:
    return CatalogueEntry("nocohost.services", name, "acme", "1.0", module, attribute)


HANGS = entry("a:hangs", "stuck.hangs")
INSIDE = entry("a:inside", "stuck.hangs.inside")
BESIDE = entry("a:beside", "stuck.beside")


def test_whoever_would_wait_for_a_stuck_module_is_refused_at_once(hanging: Hanging) -> None:
    loader = Loader(catalogue_of([HANGS, INSIDE, BESIDE]), 0.1)
    with pytest.raises(PluginLoadError, match=r"within 0\.1 s, it is still importing stuck\.hangs"):
        loader.load(HANGS)
    assert not is_imported(HANGS)
    for patient in (loader, loader.limited_to(60)):
        with pytest.raises(PluginLoadError, match=r"the import of stuck\.hangs never ended .*a:hangs"):
            patient.load(INSIDE)
        with pytest.raises(PluginLoadError, match="never ended"):
            patient.load(HANGS)
        assert patient.load(BESIDE).value.__name__ == "stuck.beside"
    assert is_imported(BESIDE)


def test_the_time_of_an_import_is_kept_whether_it_succeeds_or_not() -> None:
    good, bad, untried = entry("a:a", "json"), entry("a:b", "no_such_module_at_all"), entry("a:c", "json")
    loader = Loader(catalogue_of([good, bad]), 5)
    assert loader.load(good).seconds >= 0
    with pytest.raises(PluginLoadError, match="ModuleNotFoundError"):
        loader.load(bad)
    assert loader.import_seconds(good) is not None
    assert loader.import_seconds(bad) is not None
    assert loader.import_seconds(untried) is None


def test_a_reference_leads_to_an_object_inside_the_module() -> None:
    loader = Loader(catalogue_of([]), 5)
    assert loader.load(entry("a:a", "json.decoder", "JSONDecoder.decode")).value.__name__ == "decode"
    with pytest.raises(PluginLoadError, match="has no attribute 'nothing'"):
        loader.load(entry("a:a", "json", "nothing"))


def test_a_missing_library_of_an_extra_disables() -> None:
    missing = entry("a:a", "no_such_library.inner")
    loader = Loader(catalogue_of([missing], requires={"acme": ('no-such-library; extra == "big"',)}), 5)
    with pytest.raises(PluginDisabledError, match=r"pip install 'acme\[big\]'"):
        loader.load(missing)


class Nameless:
    """Stands in ``sys.modules`` for a module, and answers every question with an error."""

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(name)


@pytest.mark.parametrize("kind", [object, Nameless])
def test_a_module_that_replaces_itself_by_something_odd_does_not_end_the_node(
    kind: type[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stand_in", kind())
    assert is_imported(entry("a:a", "stand_in"))
