"""What the house promises to outsiders, read out of the code: hooks, settings, error codes, verbs."""

import ast
import inspect
import re
from collections.abc import Iterator, Sequence

import click
from pydantic import BaseModel
from source_tree import Module, last_name

CODE = re.compile(r"[a-z]+\.[a-z_]+")


def hook_names(hookspecs: object) -> list[str]:
    """Return the hooks of a module of hook specifications, in order."""
    groups = [group for group in vars(hookspecs).values() if inspect.isclass(group)]
    return [name for group in groups for name, hook in vars(group).items() if hasattr(hook, "nocohost_spec")]


def setting_names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every setting."""
    for name, field in model.model_fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel):
            yield from setting_names(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def variable_of(setting: str) -> str:
    """Return the environment variable of a dotted setting."""
    return "WORKER_MODE" if setting == "worker_mode" else "NOCOHOST_" + setting.replace(".", "__").upper()


def error_codes(modules: Sequence[Module]) -> set[str]:
    """Return every code an error may carry: of its class, given when it is raised, or of an HTTP status."""
    return {code for module in modules for code in _codes(module.tree) if CODE.fullmatch(code)}


def _codes(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _assigned(target, node.value)
        elif isinstance(node, ast.Call) and last_name(node).endswith("Error"):
            yield from (_text(keyword.value) for keyword in node.keywords if keyword.arg == "code")
        elif isinstance(node, ast.Dict):
            pairs = [(_value(key), _text(value)) for key, value in zip(node.keys, node.values, strict=True)]
            yield from (text for key, text in pairs if isinstance(key, int) or key == "code")


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for part, part_value in zip(target.elts, value.elts, strict=False):
            yield from _assigned(part, part_value)
    elif isinstance(target, ast.Name) and target.id == "code":
        yield _text(value)


def _value(node: ast.expr | None) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def _text(node: ast.expr) -> str:
    value = _value(node)
    return value if isinstance(value, str) else ""


def verbs(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with the words that call it, groups included, hidden ones left out."""
    if not isinstance(group, click.Group):
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, f"{name} is listed and not there"
        if not command.hidden:
            yield (*path, name), command
            yield from verbs(command, (*path, name))


def options(command: click.Command) -> list[str]:
    """Return the long form of every option a person may give."""
    shown = [item for item in command.params if isinstance(item, click.Option) and not item.hidden]
    return [next(name for name in item.opts if name.startswith("--")) for item in shown]
