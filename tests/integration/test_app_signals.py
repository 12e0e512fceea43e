"""Signals to all nodes: after the commit, never after a rollback, on both databases."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from integration.test_hints import listening
from structlog.testing import LogCapture

from nocohost.api.errors import PayloadError, PayloadTooLargeError
from nocohost.api.log import Log
from nocohost.store.database import SqlDatabase
from nocohost.store.signals import INBOX, PAYLOAD_BYTES, HintSignals

TOPIC = "shop.changed"


@dataclass
class Pair:
    """Two nodes that listen to one topic, the sender among them."""

    signals: HintSignals
    inboxes: list[AsyncIterator[Mapping[str, Any]]]

    async def heard(self) -> list[Mapping[str, Any]]:
        """Return what came next, on each node."""
        return [await asyncio.wait_for(anext(inbox), 30) for inbox in self.inboxes]


@asynccontextmanager
async def two_nodes(database: SqlDatabase, log: Log) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        nodes = [HintSignals(await stack.enter_async_context(listening(database, log)), log=log) for _ in range(2)]
        inboxes = [await stack.enter_async_context(node.listen(TOPIC)) for node in nodes]
        yield Pair(nodes[0], inboxes)


@pytest.mark.parametrize("payload", [None, {}, {"order": 7, "name": "ü \0 \n \"'", "deep": [{"x": None}]}])
async def test_a_signal_reaches_every_node_its_sender_too(
    database: SqlDatabase, log: Log, payload: dict[str, Any] | None
) -> None:
    async with two_nodes(database, log) as pair:
        await pair.signals.send("other.topic", {"not": "heard"})
        await pair.signals.send(TOPIC, payload)
        assert await pair.heard() == [payload or {}] * 2


async def test_equal_signals_are_as_many_as_were_sent_and_in_order(database: SqlDatabase, log: Log) -> None:
    async with two_nodes(database, log) as pair:
        for number in (1, 1, 1, 2, 1):
            await pair.signals.send(TOPIC, {"n": number})
        assert [(await pair.heard())[1]["n"] for _ in range(5)] == [1, 1, 1, 2, 1]


async def test_a_signal_follows_the_commit_and_no_rollback(database: SqlDatabase, log: Log) -> None:
    async with two_nodes(database, log) as pair:

        async def rolled_back() -> None:
            async with database.begin() as connection:
                await pair.signals.send(TOPIC, {"is": "rolled back"}, connection=connection)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await rolled_back()
        async with database.begin() as connection:
            await pair.signals.send(TOPIC, {"is": "committed"}, connection=connection)
            await pair.signals.send(TOPIC, {"is": "sent before"})
        assert [await pair.heard(), await pair.heard()] == [[{"is": "sent before"}] * 2, [{"is": "committed"}] * 2]


async def test_the_largest_payload_arrives_and_a_larger_one_is_refused(database: SqlDatabase, log: Log) -> None:
    room = PAYLOAD_BYTES - len('{"x":""}')
    async with two_nodes(database, log) as pair:
        for filling in ("x" * room, '"' * (room // 2), "ü" * (room // 2), "😀" * (room // 4)):
            await pair.signals.send(TOPIC, {"x": filling})
            assert await pair.heard() == [{"x": filling}] * 2
        with pytest.raises(PayloadTooLargeError, match="4097 bytes, at most 4096"):
            await pair.signals.send(TOPIC, {"x": "x" * (room + 1)})


@pytest.mark.parametrize("payload", [[1], "text", {"x": object()}, {"x": float("nan")}, {"x": "\ud800"}, {("a",): 1}])
async def test_what_is_no_json_object_is_refused(database: SqlDatabase, log: Log, payload: Any) -> None:
    async with two_nodes(database, log) as pair:
        with pytest.raises(PayloadError, match=TOPIC):
            await pair.signals.send(TOPIC, payload)


@pytest.mark.parametrize("topic", ["", "x" * 201, "a\nb", None, 7])
async def test_a_topic_that_cannot_be_is_refused(database: SqlDatabase, log: Log, topic: Any) -> None:
    async with two_nodes(database, log) as pair:
        with pytest.raises(PayloadError, match="topic of a signal"):
            await pair.signals.send(topic)
        with pytest.raises(PayloadError, match="topic of a signal"):
            await pair.signals.listen(topic).__aenter__()


async def test_a_listener_that_does_not_keep_up_loses_the_oldest(
    database: SqlDatabase, log: Log, log_lines: LogCapture
) -> None:
    async with listening(database, log) as hints:
        signals = HintSignals(hints, log=log)
        async with signals.listen(TOPIC) as inbox:
            for number in range(INBOX + 10):
                await signals.send(TOPIC, {"n": number})
            assert (await anext(inbox))["n"] == 10
    assert [entry["event"] for entry in log_lines.entries] == ["signal.dropped"]


async def test_listeners_share_no_payload_and_leave_nothing(database: SqlDatabase, log: Log) -> None:
    async with listening(database, log) as hints:
        signals = HintSignals(hints, log=log)
        async with signals.listen(TOPIC) as one, signals.listen(TOPIC) as other:
            await signals.send(TOPIC, {"list": []})
            first, second = await anext(one), await anext(other)
            first["list"].append(1)
            assert second == {"list": []}
        await signals.send(TOPIC, {})
        async with signals.listen(TOPIC) as late:
            await signals.send(TOPIC, {"is": "new"})
            assert await anext(late) == {"is": "new"}


async def test_nonsense_in_the_place_of_a_signal_harms_nothing(database: SqlDatabase, log: Log) -> None:
    async with two_nodes(database, log) as pair, listening(database, log) as stranger:
        for text in ("", "!", "e30=", "WzEsMl0=", "/////w=="):
            stranger.send("signal", text)
        await pair.signals.send(TOPIC, {"is": "heard"})
        assert await pair.heard() == [{"is": "heard"}] * 2
