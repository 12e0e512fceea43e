"""Python files read as syntax trees, without importing any of them; what the rules of the house look at."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
"""The checkout."""

SKIPPED = frozenset({"__pycache__", "build", "dist", "_build", "node_modules"})


@dataclass(frozen=True)
class Module:
    """One file: ``where`` is its path below the tree's root, ``name`` what it is imported as."""

    where: str
    name: str
    text: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        """Return how many lines the file has."""
        return len(self.text.splitlines())

    @property
    def package(self) -> str:
        """Return the package that relative imports start from."""
        return self.name if self.where.endswith("__init__.py") else self.name.rpartition(".")[0]

    @property
    def room(self) -> str:
        """Return the second part of the name: ``store`` for ``nocohost.store.jobs``; "" for the façade."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else ""


def read_modules(root: Path, *folders: str) -> list[Module]:
    """Return every Python file below the ``folders`` of ``root``, sorted by path."""
    paths = sorted(path for folder in folders for path in (root / folder).rglob("*.py"))
    return [read_module(root, path) for path in paths if not skipped(path.relative_to(root))]


def skipped(path: Path) -> bool:
    """Tell whether ``path`` is something a tool has written: caches, builds, virtual environments."""
    return any(part in SKIPPED or part.startswith(".") or part.endswith(".egg-info") for part in path.parts)


def read_module(root: Path, path: Path) -> Module:
    """Parse one file."""
    text = path.read_text(encoding="utf-8")
    where = path.relative_to(root)
    parts = where.with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(where.as_posix(), name, text, ast.parse(text, filename=str(where)))


@dataclass(frozen=True)
class Import:
    """One imported name: ``target`` is dotted and absolute, ``nested`` when a function or class holds the import."""

    target: str
    line: int
    nested: bool
    typing_only: bool

    @property
    def top(self) -> str:
        """Return the top-level package."""
        return self.target.partition(".")[0]


def imports_of(module: Module) -> Iterator[Import]:
    """Yield every import statement of ``module``, those under ``TYPE_CHECKING`` included and marked."""
    yield from _imports(module, module.tree, nested=False, typing_only=False)


def _imports(module: Module, parent: ast.AST, *, nested: bool, typing_only: bool) -> Iterator[Import]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for target in _targets(module, node):
                yield Import(target, node.lineno, nested, typing_only)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.body:
                yield from _imports(module, ast.Module([child], []), nested=nested, typing_only=True)
            for child in node.orelse:
                yield from _imports(module, ast.Module([child], []), nested=nested, typing_only=typing_only)
        else:
            inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef)
            yield from _imports(module, node, nested=nested or inner, typing_only=typing_only)


def _targets(module: Module, node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    source = node.module or ""
    if node.level:
        package = module.package.split(".")
        source = ".".join([*package[: len(package) - node.level + 1], *([source] if source else [])])
    return [f"{source}.{alias.name}" for alias in node.names]


def functions_of(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a file, nested ones and methods included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def classes_of(tree: ast.AST) -> Iterator[ast.ClassDef]:
    """Yield every class of a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node


def last_name(node: ast.AST) -> str:
    """Return ``c`` for ``a.b.c``, ``c`` for ``c`` and for ``c(...)`` and ``c[...]``; "" for anything else."""
    if isinstance(node, ast.Call):
        return last_name(node.func)
    if isinstance(node, ast.Subscript):
        return last_name(node.value)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
