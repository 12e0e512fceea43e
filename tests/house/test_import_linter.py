"""The import linter runs with the suite, and finds what is planted in a copy of the house."""

import shutil
import subprocess
import sys

import pytest
from source_tree import ROOT

PLANTED = {
    "nocohost/web/spy.py": ("import nocohost.queue", "Floors"),
    "nocohost/attic/__init__.py": ("", "Floors"),
    "builtin_plugins/guest.py": ("from nocohost.api.keys import is_key", "Guests"),
    "nocohost/host/rows.py": ("def rows():\n    import sqlalchemy\n    return sqlalchemy", "Only store"),
    "nocohost/cli/door.py": ("import aiohttp", "Only web"),
    "nocohost/store/hooks.py": ("import pluggy", "Only plugins"),
}


def lint(folder):
    script = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", script, "--no-cache"]
    environment = {"PYTHONPATH": str(folder), "PATH": ""}
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, env=environment)


def test_the_house_keeps_every_contract():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def verdict(tmp_path_factory):
    """What the linter says of a copy in which every contract is broken at once."""
    folder = tmp_path_factory.mktemp("house")
    for package in ("nocohost", "builtin_plugins"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for where, (source, _) in PLANTED.items():
        path = folder / where
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    return lint(folder)


@pytest.mark.parametrize("contract", sorted({contract for _, contract in PLANTED.values()}))
def test_each_contract_bites(verdict, contract):
    assert verdict.returncode == 1
    assert f"{contract}" in verdict.stdout.partition("Broken contracts")[2]
