"""Migration sets are read from files: nothing of a plugin is imported to compare its schema."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nocohost.api.errors import PluginContractError
from nocohost.store.revisions import core_migrations, migration_sets

EXPLODES = "raise RuntimeError('imported')\n"
FIRST = "revision = '0001'\ndown_revision = None\n"
SECOND = "revision: str = '0002'\ndown_revision: str = '0001'\n"


@dataclass
class Entry:
    name: str
    module: str
    distribution: str = "dist"
    version: str = "1.0"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write a package of migrations below a package that must not be imported, and return its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str, init: str, *revisions: str) -> str:
        versions = tmp_path / name / "migrations" / "versions"
        versions.mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text(EXPLODES)
        (tmp_path / name / "migrations" / "__init__.py").write_text(init)
        for number, text in enumerate(revisions):
            (versions / f"r{number}.py").write_text(text + EXPLODES)
        return f"{name}.migrations"

    return make


def test_a_set_is_read_without_importing_anything(package: Callable[..., str]) -> None:
    module = package("guest_shop", f"RUNNABLE_FROM = '0.9'\n{EXPLODES}", FIRST, SECOND)
    [found], failures = migration_sets([Entry("shop", module)])
    assert failures == {}
    assert (found.plugin, found.version, found.runnable_from, found.head()) == ("shop", "1.0", "0.9", "0002")
    assert found.revisions() == {"0001": (), "0002": ("0001",)}
    assert found.version_table == "shop_alembic"
    assert not [name for name in sys.modules if name.startswith("guest_shop")]


@pytest.mark.parametrize(
    ("init", "revisions", "said"),
    [
        ("", [FIRST], "RUNNABLE_FROM"),
        ("RUNNABLE_FROM = 1", [FIRST], "RUNNABLE_FROM"),
        ("RUNNABLE_FROM = str(1)", [FIRST], "RUNNABLE_FROM"),
        ("RUNNABLE_FROM = 'soon'", [FIRST], "'soon' is no version"),
        (f"RUNNABLE_FROM = '{'9' * 5000}'", [FIRST], "RUNNABLE_FROM = '<the oldest version"),
        (f"RUNNABLE_FROM = {'-' * 100_000}1", [FIRST], "cannot be read"),
        (f"RUNNABLE_FROM = {'1+' * 90_000}1", [FIRST], "cannot be read"),
        ("RUNNABLE_FROM = ", [FIRST], "cannot be read"),
        ("RUNNABLE_FROM = '1.0'", ["down_revision = None\n"], "no revision"),
        ("RUNNABLE_FROM = '1.0'", ["revision = 'a'\n"], "no down_revision"),
        ("RUNNABLE_FROM = '1.0'", ["revision = 'a'\ndown_revision = 5\n"], "r0.py"),
        ("RUNNABLE_FROM = '1.0'", ["revision = 'a'\ndown_revision = [['b']]\n"], "names no revision"),
        ("RUNNABLE_FROM = '1.0'", [FIRST, SECOND.replace("0001", "lost")], "no revision 'lost'"),
        ("RUNNABLE_FROM = '1.0'", [FIRST, FIRST.replace("0001", "b")], "2 heads"),
        (
            "RUNNABLE_FROM = '1.0'",
            ["revision = 'a'\ndown_revision = 'b'\n", "revision = 'b'\ndown_revision = 'a'\n"],
            "0",
        ),
    ],
)
def test_a_set_at_fault_is_left_out_and_the_others_stay(
    package: Callable[..., str], init: str, revisions: list[str], said: str
) -> None:
    faulty = package("guest_faulty", init, *revisions)
    healthy = package("guest_healthy", "RUNNABLE_FROM = '1.0'", FIRST)
    sets, failures = migration_sets([Entry("faulty", faulty), Entry("healthy", healthy)])
    assert [one.plugin for one in sets] == ["healthy"]
    assert isinstance(failures["faulty"], PluginContractError)
    assert said in str(failures["faulty"])


def test_what_is_not_installed_is_a_fault() -> None:
    sets, failures = migration_sets([Entry("shop", "no_such_package.migrations"), Entry("file", "this")])
    assert sets == []
    assert set(failures) == {"shop", "file"}


def test_names_that_would_share_a_version_table_are_refused(package: Callable[..., str]) -> None:
    module = package("guest_shop", "RUNNABLE_FROM = '1.0'", FIRST)
    sets, failures = migration_sets(
        [Entry("a-b", module), Entry("a_b", module), Entry("nocohost", module), Entry('x"y', module)]
    )
    assert sets == []
    assert set(failures) == {"a-b", "a_b", "nocohost", 'x"y'}


def test_the_core_is_a_set_like_any_other() -> None:
    core = core_migrations()
    assert (core.plugin, core.version_table) == ("nocohost", "nocohost_alembic")
    assert core.head() in core.revisions()
