"""Signals: short messages of plugins to all nodes, carried by hints. They may be lost, and nothing keeps them."""

import asyncio
import base64
import binascii
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from nocohost.api.errors import PayloadError, PayloadTooLargeError
from nocohost.api.log import Log
from nocohost.store.commits import on_commit
from nocohost.store.hints import SIGNAL, Hints

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

TOPIC_LENGTH = 200
PAYLOAD_BYTES = 4096
"""With its topic, such a payload fits into one notification of PostgreSQL."""
INBOX = 1000
"""How many signals a listener may be behind; older ones are dropped then."""


class HintSignals:
    """Sends and receives signals; see ``nocohost.api.app.Signals`` for the promise."""

    def __init__(self, hints: Hints, *, log: Log) -> None:
        self._hints = hints
        self._log = log
        self._numbers = itertools.count()
        self._inboxes: dict[str, list[_Inbox]] = {}
        self._deafen: Callable[[], None] | None = None

    async def send(
        self, topic: str, payload: Mapping[str, Any] | None = None, *, connection: "AsyncConnection | None" = None
    ) -> None:
        """Send to every node, this one too, now or after the commit of ``connection``."""
        content = _checked_payload(_checked_topic(topic), payload)

        def send() -> None:
            # The number makes two equal signals two hints.
            text = json.dumps([topic, next(self._numbers)], ensure_ascii=False) + content
            self._hints.send(SIGNAL, base64.b64encode(text.encode("utf-8")).decode("ascii"))
            self._deliver(topic, content)

        if connection is None:
            send()
        else:
            on_commit(connection, send)

    @asynccontextmanager
    async def listen(self, topic: str) -> AsyncIterator[AsyncIterator[Mapping[str, Any]]]:
        """Receive, within the block, the payloads of ``topic``; whoever is 1000 behind loses the oldest."""
        inbox = _Inbox(_checked_topic(topic), self._log)
        if self._deafen is None:
            self._deafen = self._hints.subscribe(SIGNAL, self._hear)
        self._inboxes.setdefault(topic, []).append(inbox)
        try:
            yield inbox
        finally:
            self._inboxes[topic].remove(inbox)
            if not self._inboxes[topic]:
                del self._inboxes[topic]
            if not self._inboxes and self._deafen is not None:
                self._deafen()
                self._deafen = None

    def _hear(self, text: str | None) -> None:
        if text is None:
            return  # signals may have been missed, and nobody can say which
        try:
            decoded = base64.b64decode(text, validate=True).decode("utf-8")
            (topic, _), end = json.JSONDecoder().raw_decode(decoded)
        except (ValueError, TypeError, binascii.Error):
            return
        if isinstance(topic, str):
            self._deliver(topic, decoded[end:])

    def _deliver(self, topic: str, content: str) -> None:
        for inbox in self._inboxes.get(topic, ()):
            inbox.put(content)


class _Inbox(AsyncIterator[Mapping[str, Any]]):
    """The signals that one listener has not taken yet, each decoded for it alone."""

    def __init__(self, topic: str, log: Log) -> None:
        self._topic = topic
        self._log = log
        self._contents: asyncio.Queue[str] = asyncio.Queue(INBOX)
        self._is_behind = False

    def put(self, content: str) -> None:
        """Keep a signal for the listener; the oldest one makes room."""
        if self._contents.full():
            self._contents.get_nowait()
            if not self._is_behind:
                self._log.warning("signal.dropped", topic=self._topic, hint="a listener does not keep up")
            self._is_behind = True
        self._contents.put_nowait(content)

    async def __anext__(self) -> Mapping[str, Any]:
        content = await self._contents.get()
        if self._contents.empty():
            self._is_behind = False
        payload: Mapping[str, Any] = json.loads(content)
        return payload


def _checked_topic(topic: str) -> str:
    if not isinstance(topic, str) or not 0 < len(topic) <= TOPIC_LENGTH or not topic.isprintable():
        raise PayloadError(
            f"{str(topic)[:40]!r} cannot be the topic of a signal", hint=f"1 to {TOPIC_LENGTH} printable characters"
        )
    return topic


def _checked_payload(topic: str, payload: Mapping[str, Any] | None) -> str:
    if payload is not None and not isinstance(payload, Mapping):
        raise PayloadError(f"signal {topic}: the payload is a {type(payload).__name__}", hint="send a JSON object")
    try:
        content = json.dumps(dict(payload or {}), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        size = len(content.encode("utf-8"))
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(f"signal {topic}: the payload is no JSON: {error}", hint="send a JSON object") from error
    if size > PAYLOAD_BYTES:
        raise PayloadTooLargeError(
            f"signal {topic}: the payload has {size} bytes, at most {PAYLOAD_BYTES} are carried",
            hint="keep the data in the database, and send where it is",
        )
    return content
