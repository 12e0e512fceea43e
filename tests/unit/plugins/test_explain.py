"""Which term of the mode decided about a hook, and what the source of an unloaded module tells."""

import ast
import sys

import pytest

from nocohost import Service, hookimpl, route
from nocohost.api.mode import CHILD, EVERYTHING, WorkerMode
from nocohost.plugins import sources
from nocohost.plugins.entry import CatalogueEntry
from nocohost.plugins.explain import deciding_term, explain
from nocohost.plugins.sources import hooks_in_source

MODE = WorkerMode(
    serves_requests=False, serves_all=False, keys=frozenset({"a:b"}), namespaces=frozenset({"shop"}),
    excluded_keys=frozenset({"shop:invoice"}),
)  # fmt: skip
SOURCE = """
from nocohost import hookimpl
import nocohost

@hookimpl
def one(): ...

@nocohost.hookimpl(tryfirst=True)
def two(): ...

@hookimpl(specname="three")
async def other(): ...

@property
def four(): ...

def five(): ...
"""


def entry(group: str, name: str) -> CatalogueEntry:
    return CatalogueEntry(f"nocohost.{group}", name, "acme", "1.0", "acme.module")


@pytest.mark.parametrize(
    ("group", "name", "mode", "decided"),
    [
        ("services", "a:b", MODE, (True, "a:b")),
        ("services", "shop:refund", MODE, (True, "shop:*")),
        ("services", "shop:invoice", MODE, (False, "-shop:invoice")),
        ("services", "x:y", MODE, (False, "")),
        ("services", "x:y", EVERYTHING, (True, "*")),
        ("extensions", "shop:invoice/vat", MODE, (False, "-shop:invoice")),
        ("extensions", "a:b/vat", MODE, (True, "a:b")),
        ("requests", "shop", MODE, (False, "")),
        ("requests", "shop", EVERYTHING, (True, "!")),
        ("declarations", "shop", CHILD, (True, "")),
        ("migrations", "shop", EVERYTHING, (False, "")),
        ("commands", "shop", EVERYTHING, (False, "")),
    ],
)
def test_a_term_decides(group: str, name: str, mode: WorkerMode, decided: tuple[bool, str]) -> None:
    assert deciding_term(entry(group, name), mode) == decided


def test_every_hook_of_every_entry_has_a_row(make_guest, stage) -> None:
    @hookimpl
    def register_services(app):
        return [Service("a:b", answer)]

    @hookimpl
    def register_checks(app):
        return []

    @hookimpl
    def serve_requests(app):
        return [route("GET", "/", answer, public=True)]

    async def answer(job): ...

    activation = stage(
        make_guest("services", "a:b", register_services, register_checks),
        make_guest("services", "a:c", register_services, distribution="other"),
        make_guest("requests", "shop", serve_requests),
    ).activate(WorkerMode(serves_requests=False))
    rows = {(row.entry.name, row.hook): row for row in explain(activation)}
    assert {key: (row.active, row.term) for key, row in rows.items()} == {
        ("a:b", "register_checks"): (True, "*"),
        ("a:b", "register_services"): (True, "*"),
        ("a:c", ""): (False, "*"),
        ("shop", ""): (False, ""),
    }
    assert rows["a:b", "register_services"].why == "the term * of * asks for it"
    assert rows["a:c", ""].why.startswith("quarantined: register_services offers a:b")
    assert rows["a:c", ""].as_json()["distribution"] == "other"
    assert rows["shop", ""].why == "no term of * asks for !"


def test_hooks_are_found_in_a_source_without_running_it() -> None:
    assert list(sources._marked(ast.parse(SOURCE))) == ["one", "two", "three"]


def test_a_source_is_found_without_importing_the_packages_around_it() -> None:
    name = "xml.sax.expatreader"
    before = {module for module in sys.modules if module.startswith("xml")}
    spec = sources._spec_of(name)
    assert spec is not None
    assert spec.name == name
    assert {module for module in sys.modules if module.startswith("xml")} == before


@pytest.mark.parametrize("module", ["no_such_package.module", "xml.nothing.there", "json.nothing", "_thread", "sys"])
def test_without_a_source_there_is_nothing_to_tell(module: str) -> None:
    assert hooks_in_source(CatalogueEntry("nocohost.services", "a:b", "acme", "1.0", module)) == ()
