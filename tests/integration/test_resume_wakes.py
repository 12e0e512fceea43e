"""A key or a schedule that is resumed wakes the nodes that serve it: neither job nor tick waits for a poll."""

import asyncio
from types import SimpleNamespace

import aiohttp

from nocohost.api.schedule import Schedule
from nocohost.cli.main import execute
from nocohost.store.hints import SCHEDULE
from nocohost.web import queues_api
from nocohost.web.keys import WAKE

KEY = "shop:invoice"


def test_the_verb_wakes_when_it_resumes_and_not_when_it_pauses(monkeypatch, migrated_url, tmp_path):
    woken = []

    async def wake(database, settings, key):
        woken.append(key)

    monkeypatch.setattr("nocohost.cli.queue.wake_nodes", wake)
    monkeypatch.setenv("NOCOHOST_DATABASE__URL", migrated_url())
    monkeypatch.chdir(tmp_path)
    assert execute(["queue", "pause", KEY, "--json"]) == 0
    assert woken == []
    assert execute(["queue", "resume", KEY, "--json"]) == 0
    assert woken == [KEY]


async def test_the_api_wakes_after_the_key_is_resumed(monkeypatch):
    deeds = []

    async def operate(request, change):
        deeds.append("resumed")
        return {"key": KEY}

    monkeypatch.setattr(queues_api, "_operate", operate)
    request = SimpleNamespace(app={WAKE: deeds.append}, match_info={"key": KEY})
    answer = await queues_api.resume_queue(request)
    assert (answer.status, deeds) == (200, ["resumed", KEY])


def test_the_verb_wakes_when_it_resumes_a_schedule(monkeypatch, migrated_url, tmp_path):
    woken = []

    async def wake(database, settings, name, *, topic):
        woken.append((topic, name))

    async def resume(connection, name):
        return SimpleNamespace(name=name)

    monkeypatch.setattr("nocohost.cli.schedules.wake_nodes", wake)
    monkeypatch.setattr("nocohost.cli.schedules.resume_schedule", resume)
    monkeypatch.setattr("nocohost.cli.schedules.schedule_json", vars)
    monkeypatch.setenv("NOCOHOST_DATABASE__URL", migrated_url())
    monkeypatch.chdir(tmp_path)
    assert execute(["schedules", "resume", "nightly", "--json"]) == 0
    assert woken == [(SCHEDULE, "nightly")]


async def test_a_schedule_resumed_by_the_api_is_looked_at_on_other_nodes(node):
    async with node("!") as front, aiohttp.ClientSession(front.url, headers=front.headers) as http:
        await front.app.schedules.set(Schedule("nightly", "shop:invoice", {"order": 1}, interval_seconds=3600))
        async with node("shop:invoice") as back:
            await back.settled()
            heard = asyncio.Queue()
            back.work._parts.hints.subscribe(SCHEDULE, heard.put_nowait)
            for verb in ("pause", "resume"):
                async with http.post(f"/api/v1/schedules/nightly/{verb}") as answer:
                    assert answer.status == 200
            async with asyncio.timeout(20):
                while await heard.get() != "nightly":
                    pass
