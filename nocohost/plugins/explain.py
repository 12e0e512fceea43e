"""Says of every hook implementation whether it is active on this node, which term decided, and whose it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from nocohost.api.mode import WorkerMode
from nocohost.plugins.activation import Activation
from nocohost.plugins.entry import (
    COMMANDS,
    DECLARATIONS,
    EXTENSIONS,
    MIGRATIONS,
    REQUESTS,
    SERVICES,
    CatalogueEntry,
    EntryState,
    State,
)
from nocohost.plugins.sources import hooks_in_source


@dataclass(frozen=True, slots=True)
class HookRow:
    """One hook implementation and its fate on this node."""

    hook: str
    """The hook; "" for an entry point whose hooks are unknown or that has none."""
    entry: CatalogueEntry
    plugin: str
    active: bool
    term: str
    """The term of the worker mode that decided; "" when none names the entry point, or the mode has no say."""
    why: str
    """Why it is active or not, in words."""

    def as_json(self) -> dict[str, object]:
        """Return the row as ``plugins show --json`` shows it."""
        return {
            "hook": self.hook or None,
            "group": self.entry.group,
            "name": self.entry.name,
            "plugin": self.plugin,
            "distribution": self.entry.distribution,
            "version": self.entry.version,
            "active": self.active,
            "term": self.term or None,
            "why": self.why,
        }


def explain(activation: Activation) -> Sequence[HookRow]:
    """Return one row per hook implementation, by entry point in the order of the catalogue.

    What is not loaded here is read from its source, without importing it.
    """
    return [row for state in activation.entries for row in _rows(state, activation.mode)]


def deciding_term(entry: CatalogueEntry, mode: WorkerMode) -> tuple[bool, str]:
    """Return whether ``mode`` asks for ``entry``, and the term that decides it ("" when none names it)."""
    if entry.group in (SERVICES, EXTENSIONS):
        return mode.deciding_term(entry.key)
    if entry.group == REQUESTS:
        return mode.serves_requests, "!" if mode.serves_requests else ""
    return entry.group == DECLARATIONS, ""


def _rows(state: EntryState, mode: WorkerMode) -> Sequence[HookRow]:
    active = state.state is State.ACTIVE
    has_hooks = state.entry.group not in (MIGRATIONS, COMMANDS)
    hooks = state.hooks or (hooks_in_source(state.entry) if has_hooks and not active else ())
    _, term = deciding_term(state.entry, mode)
    why = _why(state, mode)
    return [HookRow(hook, state.entry, state.plugin, active, term, why) for hook in hooks or ("",)]


def _why(state: EntryState, mode: WorkerMode) -> str:
    if state.state in (State.QUARANTINED, State.DISABLED):
        return f"{state.state}: {state.reason}"
    if state.entry.group == MIGRATIONS:
        return "used by the db verbs and by the upgrade at start"
    if state.entry.group == COMMANDS:
        return "loaded when the command is called"
    if state.entry.group == DECLARATIONS:
        return "loaded on every node, whatever its mode"
    asked, term = deciding_term(state.entry, mode)
    if term:
        return f"the term {term} of {mode.canonical} {'asks for it' if asked else 'excludes it'}"
    missing = "!" if state.entry.group == REQUESTS else state.entry.key
    return f"no term of {mode.canonical} asks for {missing}"
