"""``/api/v1/schedules`` and ``nocohost schedules``: the same rows, the same JSON."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from integration.queue_bench import KEY, make_queue
from integration.test_schedules import TYPES, jobs_of, make_door, nightly
from probes.web_door import Tokens, fake_app, open_door
from pydantic import TypeAdapter
from sqlalchemy import update
from verb_fixtures import Call

from nocohost.cli.main import execute
from nocohost.host.log import make_log
from nocohost.node.clock import SystemClock
from nocohost.queue.lookout import Lookout
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.schedules import list_schedules, schedule_json
from nocohost.store.schema import schedules
from nocohost.web.views import ScheduleView

ADMIN = "nch_ada_secret"
PATH = "/api/v1/schedules"


@asynccontextmanager
async def open_api(database: SqlDatabase) -> AsyncIterator[Any]:
    queue = make_queue(database, *TYPES, lookout=Lookout(database, clock=SystemClock(), look_seconds=10.0))
    app = fake_app(database=database, queue=queue)
    tokens = Tokens(ada=["admin"], viewer=["read"], operator=["operate"], clerk=["job.enqueue"])
    async with open_door(app=app, tokens=tokens) as door:
        yield door


async def test_schedules_are_listed_with_their_next_tick_and_in_words(database: SqlDatabase) -> None:
    await make_door(database).set(nightly(cron="30 2 * * *", timezone="Europe/Berlin"))
    async with open_api(database) as door:
        answer = await door.ask("GET", PATH, token="nch_viewer_secret")
        (item,) = answer.json()["items"]
        assert set(item) == set(ScheduleView.model_fields)
        assert TypeAdapter(ScheduleView).validate_python(item).next_at is not None
        assert item["description"] == "At 02:30 every day, Europe/Berlin"
        assert (item["state"], item["source"], item["catch_up"]) == ("active", "database", "skip")
        assert item["next_at"].endswith("Z")
        assert (await door.ask("GET", f"{PATH}?key=shop:mail", token=ADMIN)).json() == {"items": [], "next": None}


async def test_pages_of_schedules_follow_each_other(database: SqlDatabase) -> None:
    for name in ("a", "b", "c"):
        await make_door(database).set(nightly(name))
    async with open_api(database) as door:
        first = (await door.ask("GET", f"{PATH}?limit=2", token=ADMIN)).json()
        second = (await door.ask("GET", f"{PATH}?limit=2&after={first['next']}", token=ADMIN)).json()
        assert [item["name"] for item in first["items"] + second["items"]] == ["a", "b", "c"]
        assert second["next"] is None
        for query in ("?limit=0", "?key=shop", "?state=paused"):
            assert (await door.ask("GET", PATH + query, token=ADMIN)).status == 400


async def test_a_schedule_is_run_paused_and_resumed(database: SqlDatabase) -> None:
    await make_door(database).set(nightly("month/report"))
    one = f"{PATH}/month%2Freport"
    async with open_api(database) as door:
        made = await door.ask("POST", f"{one}/run", token="nch_operator_secret")
        assert (made.status, made.headers["Location"]) == (202, f"/api/v1/jobs/{made.json()['id']}")
        assert [warning["code"] for warning in made.json()["warnings"]] == ["key.unserved"]
        assert [job.id for job in await jobs_of(database)] == [made.json()["id"]]
        paused = await door.ask("POST", f"{one}/pause", token=ADMIN)
        assert (paused.status, paused.json()["state"], paused.json()["next_at"]) == (200, "paused", None)
        resumed = await door.ask("POST", f"{one}/resume", token=ADMIN)
        assert (resumed.json()["state"], resumed.json()["paused_at"]) == ("active", None)
        assert resumed.json()["next_at"] is not None


async def test_what_is_not_there_or_not_allowed_is_refused(database: SqlDatabase) -> None:
    await make_door(database).set(nightly())
    async with open_api(database) as door:
        for verb in ("run", "pause", "resume"):
            missing = await door.ask("POST", f"{PATH}/none/{verb}", token=ADMIN)
            assert (missing.status, missing.json()["code"]) == (404, "queue.schedule_not_found")
            assert (await door.ask("POST", f"{PATH}/nightly/{verb}", token="nch_viewer_secret")).status == 403
            assert (await door.ask("POST", f"{PATH}/night%00ly/{verb}", token=ADMIN)).status == 404
        assert (await door.ask("GET", PATH, token="nch_clerk_secret")).status == 403
        assert (await door.ask("GET", PATH)).status == 401
        assert (await door.ask("GET", f"{PATH}/nightly", token=ADMIN)).status == 404
        assert (await door.ask("GET", f"{PATH}?after=%00", token=ADMIN)).status == 400
    assert await jobs_of(database) == []


def test_schedules_by_verb(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("schedules", "list") == (0, [])
    rows = set_schedules(tmp_path)
    assert call("schedules", "list") == (0, rows)
    assert call("schedules", "list", "--key", "shop:mail") == (0, [])
    assert call("schedules", "list", "--limit", "1", "--after", "monthly") == (0, rows[1:])
    code, job = call("schedules", "run", "monthly")
    assert (code, job["key"], job["state"]) == (0, KEY, "pending")
    assert [warning["code"] for warning in job["warnings"]] == ["key.unserved"]
    code, paused = call("schedules", "pause", "monthly")
    assert (code, paused["state"], paused["next_at"]) == (0, "paused", None)
    code, resumed = call("schedules", "resume", "monthly")
    assert (code, resumed["state"], resumed["next_at"]) == (0, "active", rows[0]["next_at"])
    code, refusal = call("schedules", "pause", "none")
    assert (code, refusal["error"]["code"]) == (1, "queue.schedule_not_found")
    capsys.readouterr()
    assert execute(["schedules", "list"]) == 0
    assert "At 00:00 on the first day of every month" in capsys.readouterr().out


def set_schedules(folder: Path) -> list[dict[str, Any]]:
    """Set two schedules in the database of the verbs; return them as JSON objects."""

    async def work() -> list[dict[str, Any]]:
        log = make_log(sys.stderr, level="error")
        database = open_database(f"sqlite:///{folder / 'nocohost.sqlite'}", clock=SystemClock(), log=log)
        try:
            door = make_door(database)
            await door.set(nightly("monthly", cron="@monthly", payload={"order": 1, "month": 1}))
            await door.set(nightly("nightly", cron="30 2 * * *", payload={"order": 1, "month": 1}))
            async with database.begin() as connection:
                await connection.execute(update(schedules).values(payload={"order": 1}))
            async with database.connect() as connection:
                return [schedule_json(row) for row in (await list_schedules(connection)).items]
        finally:
            await database.close()

    return asyncio.run(work())
