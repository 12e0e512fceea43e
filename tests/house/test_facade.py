"""The façade: what third parties import, resolved lazily, typed fully, and never changed by accident."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import ROOT, functions_of, imports_of, last_name, read_module

import nocohost
from nocohost.api import hookspecs

SNAPSHOT = Path(__file__).with_name("facade.txt")
FACADE = read_module(ROOT, ROOT / "nocohost" / "__init__.py")
HOMES = {name: f"nocohost.{home}" for home, names in nocohost._HOMES.items() for name in names}


def test_the_public_names_are_those_of_the_snapshot():
    assert "\n".join([*public_names(), "", *hook_signatures()]) + "\n" == SNAPSHOT.read_text(), (
        "the façade is a promise to third parties: names and hooks may be added, never renamed or removed; "
        "write the change into CHANGELOG.md and into tests/house/facade.txt"
    )


def public_names() -> list[str]:
    return [f"{name} from {HOMES[name]}" for name in sorted(nocohost.__all__)]


def hook_signatures() -> list[str]:
    return [
        f"{name}({', '.join(parameter for parameter in inspect.signature(hook).parameters if parameter != 'self')})"
        for name, hook in hooks_in_order()
    ]


def hooks_in_order():
    for group in vars(hookspecs).values():
        if inspect.isclass(group) and group.__module__ == hookspecs.__name__:
            yield from ((name, hook) for name, hook in vars(group).items() if hasattr(hook, "nocohost_spec"))


def test_every_list_of_the_facade_names_the_same():
    typed = {imported.target.rpartition(".")[2]: imported.target.rpartition(".")[0] for imported in typed_imports()}
    assert typed == HOMES
    assert sorted(nocohost.__all__) == sorted(HOMES)
    assert len(nocohost.__all__) == len(set(nocohost.__all__))


def typed_imports():
    return [imported for imported in imports_of(FACADE) if imported.typing_only]


def test_every_typed_name_is_reexported_on_purpose():
    block = next(node for node in FACADE.tree.body if isinstance(node, ast.If))
    aliases = [alias for node in block.body for alias in node.names]
    assert all(alias.asname == alias.name for alias in aliases)


@pytest.mark.parametrize("name", sorted(HOMES))
def test_a_public_name_resolves_to_the_one_of_its_home(name):
    home = sys.modules.get(HOMES[name]) or __import__(HOMES[name], fromlist=[name])
    assert getattr(nocohost, name) is getattr(home, name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Jobb"):
        _ = nocohost.Jobb


def test_dir_lists_the_public_names():
    assert dir(nocohost) == sorted(nocohost.__all__)


def test_importing_nocohost_loads_no_third_party_module():
    assert modules_after("import nocohost") <= {"nocohost"}


def test_a_name_used_loads_its_home_and_no_other_room():
    loaded = modules_after("import nocohost; nocohost.Retry")
    assert {"nocohost", "nocohost.api.job"} <= loaded
    assert not {name for name in loaded if not name.startswith("nocohost")}
    assert not {name for name in loaded if name.startswith(("nocohost.web", "nocohost.cli"))}


def modules_after(statement: str) -> set[str]:
    """Return the modules outside the standard library that a fresh interpreter has loaded for ``statement``."""
    script = (
        "import sys; before = set(sys.modules)\n"
        f"{statement}\n"
        "new = set(sys.modules) - before\n"
        "print(*sorted(name for name in new if name.partition('.')[0] not in sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_the_measure_of_loaded_modules_sees_third_parties():
    assert "pluggy" in modules_after("import nocohost; nocohost.hookimpl")


def test_every_hook_of_the_source_is_in_the_snapshot():
    source = read_module(ROOT, ROOT / "nocohost" / "api" / "hookspecs.py")
    written = [
        function.name for function in functions_of(source.tree) if "hookspec" in map(last_name, function.decorator_list)
    ]
    assert written == [name for name, _ in hooks_in_order()]
