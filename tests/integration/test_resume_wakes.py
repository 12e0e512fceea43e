"""A key that is resumed wakes the nodes that serve it, so that its jobs do not wait for a poll."""

from types import SimpleNamespace

from nocohost.cli.main import execute
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
