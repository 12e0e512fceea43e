"""A container of a manifest, and what its environment says about the worker mode of the node in it."""

import reprlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nocohost.node.fleet import Finding, PlannedNode
from nocohost.node.mode import VARIABLE, misspells_worker_mode

OTHER_VERBS = frozenset(
    {"config", "db", "doctor", "jobs", "mode", "nodes", "openapi", "plugins", "queue", "schedules", "token"}
)
"""Verbs that start no node, so that a container with one of them, such as ``db upgrade``, serves nothing."""


@dataclass(frozen=True, slots=True)
class FromElsewhere:
    """A value that the manifest does not hold; ``source`` says where it would come from."""

    source: str


@dataclass(frozen=True, slots=True)
class Container:
    """One container: its environment as the manifest gives it, and how many of it are planned."""

    where: str
    environment: Mapping[str, Any]
    replicas: int = 1
    lasting: bool = True
    command: tuple[str, ...] = ()
    """The words that the manifest gives to start it with, if any."""


def words_of(command: Any) -> tuple[str, ...]:
    """Return the words of a command, which may be written as a list or as one line."""
    if isinstance(command, str):
        try:
            return tuple(shlex.split(command))
        except ValueError:  # a quote that never ends
            return ()
    return tuple(map(str, command)) if isinstance(command, list) else ()


def planned_in(container: Container) -> PlannedNode | Finding | None:
    """Return the node in a container, what keeps its mode from being known, or None when it is no node."""
    where = container.where
    if _verb(container.command) in OTHER_VERBS:
        return None
    if VARIABLE not in container.environment:
        return _without_mode(container)
    value = container.environment[VARIABLE]
    if isinstance(value, FromElsewhere) or (isinstance(value, str) and "$" in value):
        source = value.source if isinstance(value, FromElsewhere) else f"{value!r} is filled in later"
        return Finding("warning", "plan.unresolved", f"its mode is not in this file ({source}); not counted", where)
    if isinstance(value, str):
        return PlannedNode(value, where, container.replicas, container.lasting)
    if value is None:
        return Finding(
            "error",
            "plan.yaml_null",
            f"{VARIABLE} is null, so this node would serve everything; an unquoted ! is null in YAML: write"
            f" {VARIABLE}: '!' for requests alone, '!,*' for everything",
            where,
        )
    return Finding(
        "error",
        "plan.not_text",
        f"{VARIABLE} is {type(value).__name__} {reprlib.repr(value)}, not text; quote the mode",
        where,
    )


def _without_mode(container: Container) -> Finding | None:
    names = sorted(name for name in container.environment if misspells_worker_mode(name))
    if names:
        message = f"{names[0]} is not read; did you mean {VARIABLE}? As it stands, this node would serve everything"
        return Finding("warning", "plan.misspelt_variable", message, container.where)
    if any(name.startswith("NOCOHOST_") for name in container.environment):
        message = (
            f"sets NOCOHOST_ variables but no {VARIABLE}, so it is not counted; if it is a node, it serves everything:"
            f" write {VARIABLE}: '!,*'"
        )
        return Finding("warning", "plan.no_mode", message, container.where)
    return None


def _verb(command: tuple[str, ...]) -> str:
    """Return the verb of nocohost that a command begins with; the image may bring ``nocohost`` itself."""
    named = [place for place, word in enumerate(command) if word.rpartition("/")[2] == "nocohost"]
    return next(iter(command[named[0] + 1 :] if named else command), "")
