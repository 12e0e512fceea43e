"""A contestant that takes part: its Python, its store, its processes, as the measures use them."""

import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from queue_race.contestants import Contestant
from queue_race.environments import interpreter, versions
from queue_race.inside.contestant import records
from queue_race.inside.contestant.records import Record
from queue_race.processes import Client, FailedError, Serving, end_of_log, environment_of, serving
from queue_race.store import Store
from queue_race.stores import Stores

INSIDE = Path(__file__).parent / "inside"
SHARED_MEMORY = Path("/dev/shm")
LOOK_SECONDS = 0.005
NONE: Mapping[str, str] = MappingProxyType({})


@dataclass
class Entrant:
    """One contestant, prepared; its ``folder`` holds its logs and is deleted with the run."""

    contestant: Contestant
    python: str
    store: Store
    folder: Path
    records: Path
    pace: dict[str, float] = field(default_factory=dict)
    """Jobs per second as last seen, by measure: how many jobs a run of it is given."""

    @classmethod
    def enter(
        cls, contestant: Contestant, stores: Stores, cache: Path, folder: Path, *, is_here: bool = False
    ) -> "Entrant":
        """Install it and make its tables; raises ``MissingError`` or ``FailedError``.

        With ``is_here`` nocohost itself runs in the Python that runs the benchmark.
        """
        mine = folder / contestant.name
        shutil.rmtree(mine, ignore_errors=True)
        mine.mkdir(parents=True)
        quick = SHARED_MEMORY if SHARED_MEMORY.is_dir() else mine
        entrant = cls(
            contestant,
            sys.executable if is_here and contestant.is_ours else interpreter(cache, contestant.requirements),
            stores.open(contestant.store),
            mine,
            quick / f"race-{folder.name}-{contestant.name}.records",
        )
        entrant._prepare()
        return entrant

    @property
    def name(self) -> str:
        """Return the contestant's name."""
        return self.contestant.name

    def leave(self) -> None:
        """Delete its records."""
        self.records.unlink(missing_ok=True)

    def facts(self) -> dict[str, object]:
        """Return how it is set up, and in which versions."""
        with self._client(self._environment(self.store.empty(self.name), NONE)) as client:
            settings = client.ask("describe")["settings"]
        wanted = {one.partition("[")[0].partition("=")[0].lower() for one in self.contestant.requirements}
        wanted = wanted or {"nocohost", "psycopg", "sqlalchemy", "uvloop"}
        found = {name: version for name, version in versions(self.python).items() if name in wanted}
        return {"settings": settings, "versions": found, "store": self.contestant.store}

    @contextmanager
    def round(self, **more: str) -> Iterator["Round"]:
        """Open a client on a fresh store; ``more`` is added to the environment of all processes of the round."""
        self.records.write_bytes(b"")
        environment = self._environment(self.store.fresh(self.name), more)
        with self._client(environment) as client:
            client.ask("open")
            yield Round(self, client, environment)
            client.ask("close")

    def _prepare(self) -> None:
        url = self.store.empty(self.name)
        with self._client(self._environment(url, NONE)) as client:
            client.ask("prepare")
        self.store.keep(self.name, url)

    def _environment(self, url: str, more: Mapping[str, str]) -> dict[str, str]:
        own = {name: text.format(url=url, folder=self.folder) for name, text in self.contestant.environment.items()}
        ours = {
            "RACE_URL": url,
            "RACE_FOLDER": str(self.folder),
            records.FILE: str(self.records),
            "PYTHONPATH": str(INSIDE),
            "PYTHONPYCACHEPREFIX": str(self.folder.parent.parent / "bytecode"),
        }
        return environment_of({**ours, **own, **more})

    @contextmanager
    def _client(self, environment: Mapping[str, str]) -> Iterator[Client]:
        client = Client(self.python, self.contestant.driver, environment, self.folder)
        try:
            yield client
        finally:
            client.end()


@dataclass
class Round:
    """One run of one measure: a client on a fresh store, and a file of records that begins empty."""

    entrant: Entrant
    client: Client
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        """Return the URL of the store."""
        return self.environment["RACE_URL"]

    @contextmanager
    def serving(self, count: int) -> Iterator[list[Serving]]:
        """Run serving processes within the block."""
        commands = self.client.ask("commands", processes=count)["commands"]
        with serving(commands, self.environment, self.entrant.folder) as processes:
            yield processes

    def forget(self) -> None:
        """Begin the file of records anew."""
        self.entrant.records.write_bytes(b"")

    def read(self) -> list[Record]:
        """Return what the jobs have written so far, in the order of time."""
        return sorted(records.read(str(self.entrant.records)), key=lambda record: record.at)

    def await_records(self, count: int, seconds: float) -> list[Record]:
        """Return the records as soon as there are so many; raises ``FailedError`` after ``seconds``."""
        answer = self.client.ask("await_records", count=count, limit_seconds=seconds)
        if answer["count"] < count:
            raise FailedError(f"{answer['count']} of {count} records after {seconds} s\n{self.end_of_log()}")
        return self.read()

    def await_run(self, job: int, seconds: float, *, after: int = 0) -> Record | None:
        """Return the first start of one job after an instant, as soon as there is one; None after ``seconds``."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for record in self.read():
                if record.number == job and record.at > after:
                    return record
            time.sleep(LOOK_SECONDS)
        return None

    def end_of_log(self) -> str:
        """Return the last lines that the serving processes have logged."""
        return end_of_log(self.entrant.folder / "log")
