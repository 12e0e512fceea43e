"""How large things may grow: files, functions, classes, constructors."""

import ast
from collections.abc import Iterator, Sequence

from source_tree import Module, classes_of, functions_of, last_name

FILE_LINES = 400
LONG_FILE_LINES = 300
LONG_FILES_SHARE = 0.05
"""At most this share of the files may be longer than ``LONG_FILE_LINES``, and never fewer than two."""
FUNCTION_LINES = 60
PUBLIC_METHODS = 12
PROTOCOL_METHODS = 8
CONSTRUCTOR_ARGUMENTS = 7


def long_files(modules: Sequence[Module]) -> Iterator[str]:
    """No file is above 400 lines, and few are above 300."""
    for module in modules:
        if module.lines > FILE_LINES:
            yield f"{module.where}: {module.lines} lines, at most {FILE_LINES}"
    long = [module for module in modules if module.lines > LONG_FILE_LINES]
    allowed = max(2, int(len(modules) * LONG_FILES_SHARE))
    if len(long) > allowed:
        names = ", ".join(f"{module.where} ({module.lines})" for module in long)
        yield f"{len(long)} files above {LONG_FILE_LINES} lines, at most {allowed}: {names}"


def long_functions(modules: Sequence[Module]) -> Iterator[str]:
    """A function has fewer than 60 lines, its decorators and docstring included."""
    for module in modules:
        for function in functions_of(module.tree):
            start = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
            lines = (function.end_lineno or start) - start + 1
            if lines >= FUNCTION_LINES:
                yield f"{module.where}:{start}: {function.name} has {lines} lines, fewer than {FUNCTION_LINES} allowed"


def broad_classes(modules: Sequence[Module]) -> Iterator[str]:
    """A class has at most 12 public methods, a Protocol 8; properties count as fields."""
    for module in modules:
        for klass in classes_of(module.tree):
            limit = PROTOCOL_METHODS if "Protocol" in map(last_name, klass.bases) else PUBLIC_METHODS
            methods = [node for node in klass.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
            public = [method.name for method in methods if not method.name.startswith("_") and not _is_field(method)]
            if len(public) > limit:
                yield f"{module.where}:{klass.lineno}: {klass.name} has {len(public)} public methods, at most {limit}"


def wide_constructors(modules: Sequence[Module]) -> Iterator[str]:
    """A constructor takes at most 7 arguments; what needs more takes a dataclass."""
    for module in modules:
        for klass in classes_of(module.tree):
            for method in klass.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    count = _argument_count(method.args) - 1
                    if count > CONSTRUCTOR_ARGUMENTS:
                        yield (
                            f"{module.where}:{method.lineno}: {klass.name} takes {count} arguments, "
                            f"at most {CONSTRUCTOR_ARGUMENTS}"
                        )


def _is_field(method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(last_name(decorator) in {"property", "cached_property", "setter"} for decorator in method.decorator_list)


def _argument_count(arguments: ast.arguments) -> int:
    return len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
