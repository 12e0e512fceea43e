"""One word per idea: names of modules and things, docstrings, prose, and no path of anybody's machine."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from source_tree import Module, classes_of, functions_of, skipped

FORBIDDEN_MODULES = re.compile("utils?|helpers?|common|base|misc|managers?")
FORBIDDEN_CLASSES = re.compile(r"^(?!_).*Manager$|^Abstract[A-Z]|^I[A-Z][a-z]|Util|Helper|Mixin$")

BANNED_NAMES: Mapping[str, str] = {
    "consumer_group": "service",
    "cron_job": "schedule",
    "dequeue": "claim",
    "discarded": "dead",
    "helper": "a noun",
    "keepalive": "heartbeat",
    "nack": "release",
    "postpone": "snooze",
    "reaper": "sweep",
    "redelivery": "attempt",
    "requeue": "release",
    "rescuer": "sweep",
    "stalled": "orphan",
    "topology": "coverage",
    "ttl": "lease",
    "util": "a noun",
    "utils": "a noun",
    "visibility_timeout": "lease",
    "worker": "node (worker mode is the exception)",
    "workers": "nodes",
    "zombie": "orphan",
}
"""Words of other systems, and ours for the same thing."""

BANNED_PROSE: Mapping[str, str] = {
    r"workers?(?![ _-]mode)\b": "node",
    r"cron jobs?": "schedule",
    r"visibility timeouts?": "lease",
    r"re-?deliver(?:y|ed|ies)": "attempt",
    r"re-?queued?": "release",
    r"consumer groups?": "service",
    r"message brokers?": "queue",
    r"white-?lists?": "allow-list",
    r"black-?lists?": "deny-list",
    r"(?:reaper|rescuer)s?": "sweep",
    r"dead letter queues?": "dead letters",
}

SECTIONS = ("Called:", "Returns:", "If it raises:")

MACHINE_PATHS = re.compile(
    r"(?<![\w.])/(?:" + "|".join(("work", "root", "opt/nh", r"home/\w+", r"Users/\w+")) + r")/\w"
)
TEXT_SUFFIXES = re.compile(r"(\.(py|md|toml|cfg|ya?ml|txt|ini|sh|json|html|css))?")


def module_names(modules: Sequence[Module]) -> Iterator[str]:
    """Modules are concrete nouns."""
    for module in modules:
        for part in module.name.split("."):
            if FORBIDDEN_MODULES.fullmatch(part):
                yield f"{module.where}: {part!r} says nothing; name the thing"


def docstrings(modules: Sequence[Module]) -> Iterator[str]:
    """Every module says on its first line what it is for."""
    for module in modules:
        if not (ast.get_docstring(module.tree) or "").strip() and module.text.strip():
            yield f"{module.where}: no module docstring"


def identifiers(modules: Sequence[Module]) -> Iterator[str]:
    """What we name ourselves uses the words of the glossary."""
    for module in modules:
        for name, line in _defined_names(module.tree):
            words = _words(name)
            for banned, ours in BANNED_NAMES.items():
                if f"_{banned}_" in f"_{words}_" and "worker_mode" not in words:
                    yield f"{module.where}:{line}: {name}: the word here is {ours}, not {banned}"
        for klass in classes_of(module.tree):
            if FORBIDDEN_CLASSES.search(klass.name):
                yield f"{module.where}:{klass.lineno}: {klass.name}: a class is a noun of its own"


def prose(texts: Mapping[str, str]) -> Iterator[str]:
    """What people read uses the words of the glossary; quoted code is left alone."""
    for where, text in texts.items():
        plain = re.sub(
            r"```.*?```|``[^`]*``|`[^`]*`", lambda found: re.sub(r"\S", " ", found[0]), text, flags=re.DOTALL
        )
        for banned, ours in BANNED_PROSE.items():
            for found in re.finditer(rf"(?<![\w.:/-]){banned}(?![\w-])", plain, flags=re.IGNORECASE):
                line = plain.count("\n", 0, found.start()) + 1
                yield f"{where}:{line}: {found[0]!r}: the word here is {ours}"


def hookspec_docstrings(modules: Sequence[Module]) -> Iterator[str]:
    """A hook specification says when it is called, what it returns, and what happens if it raises; in that order."""
    for module in modules:
        for function in functions_of(module.tree):
            if not any("hookspec" in ast.dump(decorator) for decorator in function.decorator_list):
                continue
            text = ast.get_docstring(function) or ""
            places = [text.find(f"\n{section}") for section in SECTIONS]
            if -1 in places or places != sorted(places):
                yield f"{module.where}:{function.lineno}: {function.name} lacks {', '.join(SECTIONS)} in this order"


def sleeps(modules: Sequence[Module]) -> Iterator[str]:
    """A unit test does not wait: it turns the clock. ``asyncio.sleep(0)`` yields and is free."""
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sleep":
                owner = node.func.value
                zero = bool(node.args) and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
                if isinstance(owner, ast.Name) and owner.id in {"time", "asyncio"} and not zero:
                    yield f"{module.where}:{node.lineno}: {owner.id}.sleep in a unit test"
            elif isinstance(node, ast.ImportFrom) and node.module in {"time", "asyncio"}:
                yield from (
                    f"{module.where}:{node.lineno}: {node.module}.sleep in a unit test"
                    for alias in node.names
                    if alias.name == "sleep"
                )


def machine_paths(root: Path) -> Iterator[str]:
    """No file names a folder of the machine it was written on."""
    for path in sorted(root.rglob("*")):
        where = path.relative_to(root)
        hidden = skipped(Path(*where.parts[1:])) if where.parts[0] == ".ci" else skipped(where)
        if hidden or not path.is_file() or not TEXT_SUFFIXES.fullmatch(path.suffix):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            for found in MACHINE_PATHS.finditer(line):
                yield f"{where.as_posix()}:{number}: a path of somebody's machine: {found[0]}..."


def _defined_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_")
