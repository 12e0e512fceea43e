"""Entry points as values: the unit that a worker mode activates, and what may become of one."""

from dataclasses import dataclass
from enum import StrEnum

from nocohost.api.errors import PluginDisabledError, PluginError

DECLARATIONS = "nocohost.declarations"
SERVICES = "nocohost.services"
EXTENSIONS = "nocohost.extensions"
REQUESTS = "nocohost.requests"
MIGRATIONS = "nocohost.migrations"
COMMANDS = "nocohost.commands"
GROUPS = (DECLARATIONS, SERVICES, EXTENSIONS, REQUESTS, MIGRATIONS, COMMANDS)
"""Every entry-point group, in the order in which the catalogue and ``plugins list`` show them."""
NAMED_BY_PLUGIN = frozenset({DECLARATIONS, REQUESTS, MIGRATIONS})
"""Groups whose entries are named after their plugin."""


class State(StrEnum):
    """What became of an entry point on this node.

    ``installed`` is not loaded here, because the worker mode does not ask for it; ``active`` is loaded and checked;
    ``quarantined`` is at fault; ``disabled`` needs something that is not installed.
    """

    ACTIVE = "active"
    INSTALLED = "installed"
    QUARANTINED = "quarantined"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One entry point of one distribution."""

    group: str
    name: str
    distribution: str
    version: str
    module: str
    """The module to import; "" when the metadata holds no readable reference."""
    attribute: str = ""
    """What the entry point names inside its module, or "" for the module itself."""
    extras: tuple[str, ...] = ()
    """Extras of its distribution that the entry point says it needs."""

    @property
    def key(self) -> str:
        """Return the service key that a services or extensions entry stands under, "" in other groups."""
        if self.group == SERVICES:
            return self.name
        return self.name.partition("/")[0] if self.group == EXTENSIONS else ""

    @property
    def reference(self) -> str:
        """Return what is loaded, as metadata writes it: ``module`` or ``module:attribute``."""
        return f"{self.module}:{self.attribute}" if self.attribute else self.module

    @property
    def owner(self) -> str:
        """Return the distribution and its version, as people read them."""
        return f"{self.distribution} {self.version}"

    def __str__(self) -> str:
        return f"{self.group} {self.name} ({self.owner})"


@dataclass(frozen=True, slots=True)
class EntryState:
    """What became of one entry point on this node, and why."""

    entry: CatalogueEntry
    plugin: str
    state: State
    imported: bool = False
    """Whether its module is in this process, whoever imported it."""
    reason: str = ""
    """One line: why it is not active; "" when it is, or when the worker mode does not ask for it."""
    code: str = ""
    """The code of the error behind ``reason``."""
    import_seconds: float | None = None
    """How long its import took; None when it was not imported on this entry's behalf."""
    trace: str = ""
    """The traceback of the plugin's fault, when there is one."""
    hooks: tuple[str, ...] = ()
    """The hooks that it implements here, when it is active."""

    def as_json(self) -> dict[str, object]:
        """Return the entry as ``plugins list --json`` and the API show it."""
        seconds = self.import_seconds
        return {
            "group": self.entry.group,
            "name": self.entry.name,
            "distribution": self.entry.distribution,
            "version": self.entry.version,
            "module": self.entry.module,
            "state": self.state.value,
            "imported": self.imported,
            "reason": self.reason or None,
            "import_seconds": None if seconds is None else round(seconds, 4),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why an entry point cannot be active: ``state`` is quarantined or disabled."""

    state: State
    reason: str
    error: PluginError

    @classmethod
    def of(cls, error: PluginError) -> "Verdict":
        """Return the verdict that ``error`` stands for: disabled when something is not installed, else quarantined."""
        state = State.DISABLED if isinstance(error, PluginDisabledError) else State.QUARANTINED
        return cls(state, str(error), error)
