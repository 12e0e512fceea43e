"""The stores of a run, each opened when it is first asked for, and stopped at the end if this run started it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

from queue_race.contestants import POSTGRESQL, REDIS, SQLITE
from queue_race.postgres_store import postgres_store
from queue_race.redis_store import redis_store
from queue_race.store import MissingError, SqliteStore, Store


class Stores:
    """A context manager that hands out one store of each kind; ``folder`` is where they keep their files."""

    def __init__(self, cache: Path, folder: Path) -> None:
        self._cache = cache
        self._folder = folder
        self._stack = ExitStack()
        self._opened: dict[str, Store | MissingError] = {}

    def __enter__(self) -> "Stores":
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def open(self, kind: str) -> Store:
        """Return the store of this kind; raises ``MissingError``, each time anew, when there is none."""
        if kind not in self._opened:
            try:
                self._opened[kind] = self._stack.enter_context(self._opener(kind))
            except MissingError as error:
                self._opened[kind] = error
        opened = self._opened[kind]
        if isinstance(opened, MissingError):
            raise opened
        return opened

    @property
    def facts(self) -> dict[str, Mapping[str, str]]:
        """Return what is known of the stores in use."""
        return {kind: one.facts for kind, one in self._opened.items() if not isinstance(one, MissingError)}

    def _opener(self, kind: str) -> AbstractContextManager[Store]:
        if kind == POSTGRESQL:
            return postgres_store()
        if kind == REDIS:
            return redis_store(self._cache, self._folder)
        assert kind == SQLITE
        return nullcontext(SqliteStore(self._folder))
