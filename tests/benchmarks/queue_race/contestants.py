"""Who takes part: one line of facts for each contestant."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

POSTGRESQL, SQLITE, REDIS = "postgresql", "sqlite", "redis"
THROUGHPUT = frozenset({"enqueue", "drain"})
EVERYTHING = THROUGHPUT | {"latency", "start", "recovery"}
OURS = EVERYTHING | {"ballast"}


@dataclass(frozen=True)
class Contestant:
    """One library at one set of settings.

    ``requirements`` are what pip installs into its own virtual environment; a contestant that has none is
    installed from this checkout. Values of ``environment`` may name the ``{url}`` of its store and a ``{folder}`` of
    its own.
    """

    name: str
    driver: str
    store: str
    measures: frozenset[str]
    requirements: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def is_ours(self) -> bool:
        """Tell whether it is what the others are measured beside."""
        return self.driver == "nocohost"


NOCOHOST = {
    "NOCOHOST_DATABASE__URL": "{url}",
    "NOCOHOST_EXTERNAL_KEYS": "parked:work",
    "NOCOHOST_DATA_DIR": "{folder}",
    "NOCOHOST_HTTP__PORT": "0",
    "NOCOHOST_ADMIN__PORT": "0",
    "NOCOHOST_LOG__LEVEL": "warning",
    "NOCOHOST_PLUGINS__RACE__CONCURRENCY": os.environ.get("RACE_CONCURRENCY", "1000"),
    "WORKER_MODE": "*",
}
ON_UVLOOP = {"RACE_UVLOOP": "1"}
"""uvloop on both sides, where it is installed: what the extra ``fast`` is for."""
PGQUEUER = ("pgqueuer", "asyncpg", "uvloop")
BATCH_OF_100 = {**ON_UVLOOP, "RACE_BATCH": "100"}

CONTESTANTS = (
    Contestant("nocohost", "nocohost", POSTGRESQL, OURS, environment={**NOCOHOST, **ON_UVLOOP}),
    Contestant("nocohost-asyncio", "nocohost", POSTGRESQL, OURS - {"ballast", "recovery"}, environment=NOCOHOST),
    Contestant("raw", "raw", POSTGRESQL, THROUGHPUT, environment={"RACE_BATCH": os.environ.get("RACE_BATCH", "200")}),
    Contestant("pgqueuer", "pgqueuer", POSTGRESQL, EVERYTHING, PGQUEUER, environment=BATCH_OF_100),
    Contestant("procrastinate", "procrastinate", POSTGRESQL, EVERYTHING, ("procrastinate", "psycopg[binary,pool]")),
    Contestant("dbos", "dbos", POSTGRESQL, EVERYTHING, ("dbos", "psycopg[binary]")),
    Contestant("celery", "celery", REDIS, EVERYTHING, ("celery[redis]", "redis", "hiredis")),
    Contestant("nocohost-sqlite", "nocohost", SQLITE, EVERYTHING, environment={**NOCOHOST, **ON_UVLOOP}),
    Contestant("huey", "huey", SQLITE, EVERYTHING, ("huey",)),
)
