"""Reads which hooks a module implements from its source, without importing it: for what this node does not load."""

import ast
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec

from nocohost.plugins.entry import CatalogueEntry


def hooks_in_source(entry: CatalogueEntry) -> tuple[str, ...]:
    """Return the hooks that the module of ``entry`` marks with ``@hookimpl``, as far as its source shows them.

    Nothing is imported, not even the packages around the module. Empty when there is no source, or none that can be
    read.
    """
    try:
        spec = _spec_of(entry.module)
        source = spec.loader.get_source(spec.name) if spec and spec.loader else None  # type: ignore[attr-defined]
        tree = ast.parse(source or "")
    except (AttributeError, ImportError, OSError, RecursionError, SyntaxError, ValueError):
        return ()
    return tuple(_marked(tree))


def _spec_of(module: str) -> ModuleSpec | None:
    """Find a module from the outside in; ``find_spec`` of a dotted name would import the packages before the dot."""
    top, *rest = module.split(".")
    spec = find_spec(top)
    name = top
    for part in rest:
        if spec is None:
            return None
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, spec.submodule_search_locations)
    return spec


def _marked(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                call = decorator if isinstance(decorator, ast.Call) else None
                marker = call.func if call else decorator
                if isinstance(marker, ast.Attribute):
                    name = marker.attr
                else:
                    name = marker.id if isinstance(marker, ast.Name) else ""
                if name == "hookimpl":
                    yield _specname(call) or node.name


def _specname(call: ast.Call | None) -> str:
    for keyword in call.keywords if call else ():
        if keyword.arg == "specname" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return ""
