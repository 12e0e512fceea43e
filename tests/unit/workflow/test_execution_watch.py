"""Watching executions: whoever watches the same one shares a look, and an outage of the database ends nothing."""

import asyncio
from types import SimpleNamespace

import pytest

from builtin_plugins.workflow import watch
from builtin_plugins.workflow.watch import Watch
from nocohost import StoreError

BEFORE = {"state": "running"}


@pytest.fixture
def log(monkeypatch):
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.0)
    told = []

    def tell(event, **fields):
        told.append((event, fields))

    return SimpleNamespace(told=told, warning=tell, info=tell)


async def test_all_who_watch_an_execution_share_each_look(log):
    loaded = []

    async def load(execution_id):
        loaded.append(execution_id)
        return {"id": execution_id, "state": "waiting"}

    one = Watch(SimpleNamespace(log=log), load)
    found = await asyncio.gather(*(one.look(name, BEFORE) for name in ("a", "b") for _ in range(100)))
    assert sorted(loaded) == ["a", "b"]
    assert [shown["id"] for shown in found] == ["a"] * 100 + ["b"] * 100
    await one.look("a", BEFORE)
    assert sorted(loaded) == ["a", "a", "b"]


async def test_who_leaves_takes_the_look_from_nobody(log):
    async def load(execution_id):
        return {"id": execution_id}

    one = Watch(SimpleNamespace(log=log), load)
    leaving, staying = (asyncio.create_task(one.look("a", BEFORE)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == {"id": "a"}


async def test_an_outage_is_told_once_and_shows_what_was_seen_before_until_the_next_look_goes_on(log):
    answers = [StoreError("away"), StoreError("still away"), None]

    async def load(execution_id):
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return answer

    one = Watch(SimpleNamespace(log=log), load)
    assert await one.look("a", BEFORE) is BEFORE
    assert await one.look("b", BEFORE) is BEFORE
    assert log.told == [("workflow.unseen", {"reason": "away"})]
    assert await one.look("a", BEFORE) is None
    assert log.told[1:] == [("workflow.seen", {})]
