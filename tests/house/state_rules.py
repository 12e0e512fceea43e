"""What a module may hold and what it may swallow: no mutable object of its own, broad excepts at five fences only."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence

from source_tree import Module, classes_of, functions_of, last_name

MUTABLE_CALLS = re.compile(
    "list|dict|set|bytearray|defaultdict|deque|OrderedDict|ChainMap|Counter|Weak(Key|Value)Dictionary|WeakSet|"
    "R?Lock|Event|Condition|(Bounded)?Semaphore|Barrier|(Lifo|Priority|Simple)?Queue|local|Thread|Timer|"
    "(Thread|Process)PoolExecutor|PluginManager|CollectorRegistry|count|cycle|SimpleNamespace|Random"
)
"""Calls whose result changes. Tables, click commands and metric definitions are excepted, so they are not here."""

READ_ONLY_TYPES = frozenset({"Mapping", "Sequence", "Collection", "Set", "Iterable"})
"""Annotated so, a literal is a constant: mypy refuses every change of it."""

ENVIRONMENT = re.compile(r"\b(environb?|getenvb?|putenv)\b")
ENVIRONMENT_ROOMS = frozenset({"cli", "testing"})

METRIC_MODULES = ("prometheus_client",)

FENCES: Mapping[str, tuple[str, int]] = {
    "nocohost/plugins/fence.py": ("plugin load: importing, calling hooks, calling a published hook", 3),
    "nocohost/host/lifespans.py": ("plugin load: entering and leaving a plugin's node_lifespan", 1),
    "nocohost/store/upgrade.py": ("plugin load: a plugin's migration is code of a guest", 1),
    "nocohost/queue/attempt.py": ("job run: whatever a handler raises is a failed attempt", 1),
    "nocohost/child/call.py": ("job run: the same in a thread or a child", 2),
    "nocohost/web/gate.py": ("HTTP middleware: whatever a handler raises is answered", 1),
    "nocohost/queue/supervision.py": ("supervised background loop: it is logged and goes on", 2),
    "nocohost/queue/grouping.py": ("batch flusher: every waiter gets the error", 1),
}
"""Where ``except Exception`` may stand: file -> (which of the five fences and why, how many times)."""


def mutable_modules(modules: Sequence[Module]) -> Iterator[str]:
    """No module-level mutable object, no ``global``, no function that caches the one value it makes."""
    for module in modules:
        metrics = _names_from(module, METRIC_MODULES)
        for name, annotation, value, line in _assignments(module.tree.body):
            if name.startswith("__") or value is None:
                continue
            if annotation is not None and last_name(annotation) in READ_ONLY_TYPES:
                continue
            if _is_mutable(value, metrics):
                yield f"{module.where}:{line}: {name} is a mutable object of the module; make it a tuple or a Mapping"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Global):
                yield f"{module.where}:{node.lineno}: global {', '.join(node.names)}"
        for function in functions_of(module.tree):
            arguments = function.args
            takes_any = arguments.args or arguments.posonlyargs or arguments.kwonlyargs or arguments.vararg
            if not takes_any and {"cache", "lru_cache"} & set(map(last_name, function.decorator_list)):
                yield f"{module.where}:{function.lineno}: {function.name} is a singleton in disguise"


def broad_excepts(modules: Sequence[Module], fences: Mapping[str, tuple[str, int]] | None = None) -> Iterator[str]:
    """``except Exception``, ``except BaseException`` and a bare ``except`` stand at the five fences only."""
    allowed = FENCES if fences is None else fences
    for module in modules:
        lines = sorted(_broad_lines(module.tree))
        fence, count = allowed.get(module.where, ("no fence", 0))
        if len(lines) > count:
            at = ", ".join(map(str, lines))
            yield f"{module.where}: {len(lines)} broad excepts (lines {at}), {count} allowed here ({fence})"
        if len(lines) < count:
            yield f"{module.where}: has {len(lines)} broad excepts now; lower its count in FENCES from {count}"
    missing = set(allowed) - {module.where for module in modules}
    yield from (f"{where}: a fence that is no longer there" for where in sorted(missing))


def _broad_lines(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(kind is None or last_name(kind) in {"Exception", "BaseException"} for kind in caught):
                yield node.lineno
        elif (
            isinstance(node, ast.Call)
            and last_name(node) == "suppress"
            and any(last_name(kind) in {"Exception", "BaseException"} for kind in node.args)
        ):
            yield node.lineno


def _assignments(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.expr | None, ast.expr | None, int]]:
    for node in body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield last_name(target) or ast.unparse(target), None, node.value, node.lineno
        elif isinstance(node, ast.AnnAssign):
            yield last_name(node.target), node.annotation, node.value, node.lineno
        elif isinstance(node, ast.If | ast.Try):
            yield from _assignments([*node.body, *node.orelse])


def _is_mutable(value: ast.expr, metrics: frozenset[str]) -> bool:
    if isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
        return True
    return (
        isinstance(value, ast.Call)
        and last_name(value) not in metrics
        and bool(MUTABLE_CALLS.fullmatch(last_name(value)))
    )


def _names_from(module: Module, packages: Sequence[str]) -> frozenset[str]:
    return frozenset(
        alias.asname or alias.name
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and node.module in packages
        for alias in node.names
    )


def environment_readers(modules: Sequence[Module]) -> Iterator[str]:
    """The process's environment is handed in by the doors people come in at; nothing below them looks at it."""
    for module in modules:
        if module.room in ENVIRONMENT_ROOMS:
            continue
        for node in ast.walk(module.tree):
            name = node.attr if isinstance(node, ast.Attribute) else ""
            if isinstance(node, ast.ImportFrom) and node.module == "os":
                name = " ".join(alias.name for alias in node.names)
            if ENVIRONMENT.search(name):
                yield f"{module.where}:{node.lineno}: reads the environment; take a mapping"


def scattered_errors(modules: Sequence[Module]) -> Iterator[str]:
    """Errors are in one file; ``web`` has its own for what only an HTTP status says."""
    for module in modules:
        if module.where == "nocohost/api/errors.py" or module.room == "web":
            continue
        for klass in classes_of(module.tree):
            if any(last_name(parent).endswith(("Error", "Exception")) for parent in klass.bases):
                yield f"{module.where}:{klass.lineno}: {klass.name} belongs into nocohost/api/errors.py"
