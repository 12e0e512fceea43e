"""An ``App`` for tests that activate plugins without a node around them: what works while hooks register, no more."""

from collections.abc import Collection
from typing import Any

from nocohost.api.app import Database, Hooks, ModelT, Node, Queue
from nocohost.api.clock import Clock
from nocohost.api.errors import AppNotOpenError, UnknownKeyError
from nocohost.api.mode import WorkerMode
from nocohost.node.clock import SystemClock
from nocohost.node.identity import new_identity
from nocohost.plugins.declarations import Declarations


class ListLog:
    """Keeps every line as (level, event, fields)."""

    def __init__(self, lines: list[tuple[str, str, dict[str, Any]]] | None = None, **fields: Any) -> None:
        self.lines = [] if lines is None else lines
        self._fields = fields

    def bind(self, **fields: Any) -> "ListLog":
        return ListLog(self.lines, **{**self._fields, **fields})

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.lines.append((level, event, {**self._fields, **fields}))

    def debug(self, event: str, **fields: Any) -> None:
        self._write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._write("error", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        self._write("exception", event, fields)

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the fields of every line of one event."""
        return [fields for _, name, fields in self.lines if name == event]


class FakeApp:
    """Satisfies ``api.app.App``."""

    def __init__(
        self,
        mode: WorkerMode,
        declarations: Declarations,
        *,
        hooks: Hooks | None = None,
        keys: Collection[str] = (),
        log: ListLog | None = None,
    ) -> None:
        self.mode = mode
        self.node: Node = new_identity("test")
        self.clock: Clock = SystemClock()
        self.log = log or ListLog()
        self._declarations = declarations
        self._hooks = hooks
        self._keys = keys

    @property
    def hooks(self) -> Hooks:
        if self._hooks is None:
            raise AppNotOpenError
        return self._hooks

    @property
    def queue(self) -> Queue:
        raise AppNotOpenError

    @property
    def database(self) -> Database:
        raise AppNotOpenError

    def serving(self, key: str | None = None) -> bool:
        if key is None:
            return self.mode.serves_requests
        if key not in self._keys:
            raise UnknownKeyError
        return self.mode.covers(key)

    def settings(self, model: type[ModelT]) -> ModelT:
        return self._declarations.settings(model)
