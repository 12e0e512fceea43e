"""Who may import whom: floors, rooms, guests, and what third party belongs to which room."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from source_tree import Module, functions_of, imports_of, last_name

FLOORS: Mapping[str, int] = {
    "api": 0,
    "node": 1,
    "store": 2,
    "plugins": 3,
    "web": 4,
    "queue": 4,
    "child": 4,
    "storage": 4,
    "host": 5,
    "cli": 6,
    "testing": 6,
}
"""The floor of each room; ``[tool.importlinter]`` says the same, and a test holds the two against each other."""

LOADERS = frozenset({"nocohost/__init__.py", "nocohost/cli/main.py", "nocohost/testing/plugin.py"})
"""The places that resolve an internal name when it is first used: the façade, the verbs, and the pytest plugin,
which every pytest run of an environment loads, whether its tests use nocohost or not."""

OWNERS: Mapping[str, tuple[str, ...]] = {
    "sqlalchemy": ("nocohost.store",),
    "alembic": ("nocohost.store",),
    "psycopg": ("nocohost.store",),
    "aiosqlite": ("nocohost.store",),
    "aiohttp": ("nocohost.web",),
    "pluggy": ("nocohost.plugins", "nocohost.api.hookspecs"),
}
"""Third parties that one room imports at run time; everywhere else they are annotations."""

GUEST_IMPORTS = frozenset({"nocohost", "nocohost.testing"})


def floors(modules: Sequence[Module]) -> Iterator[str]:
    """Imports go down only, rooms on one floor never meet, and every room has a floor."""
    for module in modules:
        if module.room in {"", "__main__"}:
            continue
        if module.room not in FLOORS:
            yield f"{module.where}: nobody gave the room {module.room!r} a floor"
            continue
        for imported in imports_of(module):
            if imported.top != "nocohost" or imported.typing_only:
                continue
            room = imported.target.removeprefix("nocohost").lstrip(".").partition(".")[0]
            if room not in FLOORS:
                yield f"{module.where}:{imported.line}: the house does not use its own façade ({imported.target})"
            elif room != module.room and FLOORS[room] >= FLOORS[module.room]:
                yield f"{module.where}:{imported.line}: {module.room} may not import {room}"


def nested_imports(modules: Sequence[Module]) -> Iterator[str]:
    """Internal imports stand at the top of a file; only the loaders resolve a name later."""
    for module in modules:
        if module.where in LOADERS:
            continue
        for imported in imports_of(module):
            if imported.nested and imported.top in {"nocohost", "builtin_plugins"}:
                yield f"{module.where}:{imported.line}: internal import of {imported.target} inside a function"
        for function in functions_of(module.tree):
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and _imports_the_house(call):
                    yield f"{module.where}:{call.lineno}: deferred internal import"


def owned_libraries(modules: Sequence[Module]) -> Iterator[str]:
    """SQLAlchemy is imported by ``store`` alone, aiohttp by ``web``, pluggy by ``plugins`` and the hookspecs."""
    for module in modules:
        for imported in imports_of(module):
            owners = OWNERS.get(imported.top)
            if owners is None or imported.typing_only:
                continue
            if not any(f"{module.name}.".startswith(f"{owner}.") for owner in owners):
                yield f"{module.where}:{imported.line}: {imported.top} belongs to {' and '.join(owners)}"


def guests(modules: Sequence[Module]) -> Iterator[str]:
    """A plugin imports ``nocohost`` (or ``nocohost.testing``), never a room of the house."""
    for module in modules:
        for imported in imports_of(module):
            package, _, name = imported.target.rpartition(".")
            inside = name in FLOORS if package == "nocohost" else GUEST_IMPORTS.isdisjoint((imported.target, package))
            if imported.top == "nocohost" and imported.target not in GUEST_IMPORTS and inside:
                yield f"{module.where}:{imported.line}: a guest imports {imported.target}"


def cycles(modules: Sequence[Module]) -> Iterator[str]:
    """No module imports itself by way of others, not even within its room."""
    names = {module.name for module in modules}
    graph = {
        module.name: {
            target
            for imported in imports_of(module)
            if not imported.typing_only
            for target in (imported.target, imported.target.rpartition(".")[0])
            if target in names and target != module.name
        }
        for module in modules
    }
    # A package that imports nothing of its own is no link of a chain, and being a parent makes no import.
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield "import cycle: " + " -> ".join(error.args[1])


def _imports_the_house(call: ast.Call) -> bool:
    if last_name(call) not in {"import_module", "__import__"} or not call.args:
        return False
    return _text_start(call.args[0]).startswith(("nocohost", "builtin_plugins", "."))


def _text_start(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr) and node.values:
        return _text_start(node.values[0])
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
