"""Who takes part: one line of facts for each contestant."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

POSTGRESQL, SQLITE, REDIS = "postgresql", "sqlite", "redis"


@dataclass(frozen=True)
class Contestant:
    """One library at one set of settings.

    ``requirements`` are what pip installs into its own virtual environment; without any it runs in the Python that runs
    the benchmark. Values of ``environment`` may name the ``{url}`` of its store and a ``{folder}`` of its own.
    """

    name: str
    driver: str
    store: str
    measures: frozenset[str]
    requirements: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


EVERYTHING = frozenset({"enqueue", "drain", "latency", "start", "recovery"})
NOCOHOST = {
    "NOCOHOST_DATABASE__URL": "{url}",
    "NOCOHOST_DATA_DIR": "{folder}",
    "NOCOHOST_HTTP__PORT": "0",
    "NOCOHOST_ADMIN__PORT": "0",
    "NOCOHOST_LOG__LEVEL": "warning",
    "NOCOHOST_PLUGINS__RACE__CONCURRENCY": "200",
    "WORKER_MODE": "*",
}

CONTESTANTS = (
    Contestant("nocohost", "nocohost", POSTGRESQL, EVERYTHING | {"ballast"}, environment=NOCOHOST),
    Contestant("raw", "raw", POSTGRESQL, frozenset({"enqueue", "drain"})),
)
