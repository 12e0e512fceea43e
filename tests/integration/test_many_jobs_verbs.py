"""``jobs retry``, ``cancel`` and ``drop`` with ``--all``, as commands, on both databases."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from integration.queue_bench import KEY, claim, join_node, make_queue, settle
from integration.test_hints import get, heard_by, listening
from verb_fixtures import Call

from nocohost.api.log import Log
from nocohost.cli import many_jobs
from nocohost.cli.main import execute
from nocohost.node.clock import SystemClock
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.job_filter import Changed

FIT = ("--all", "--key", KEY, "--state")
NOT_ONE = "01234567-89ab-7def-8123-456789abcdef"


@pytest.fixture
def url(migrated_url: Callable[[], str]) -> str:
    """The database that the commands and the test share."""
    return migrated_url()


@pytest.fixture
async def database(url: str, log: Log) -> AsyncIterator[SqlDatabase]:
    opened = open_database(url, clock=SystemClock(), log=log)
    yield opened
    await opened.close()


@pytest.fixture(autouse=True)
def database_of_the_verbs(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOCOHOST_DATABASE__URL", url)


def told(matched: int, changed: int = 0, left: int = 0) -> dict[str, Any]:
    return {"matched": matched, "changed": changed, "left": left, "refused": []}


async def test_many_jobs_are_counted_cancelled_retried_and_dropped(database: SqlDatabase, call: Call) -> None:
    made = [job.id for job in await make_queue(database).enqueue_many(KEY, [{"order": 1}] * 3)]

    def all_in_turn() -> None:
        assert call("jobs", "cancel", *FIT, "pending", "--dry-run") == (0, told(3, left=3))
        assert call("jobs", "cancel", *FIT, "pending", "--before", "2000-01-01T00:00:00Z", "--yes") == (0, told(0))
        assert call("jobs", "cancel", *FIT, "pending", "--yes") == (0, told(3, 3))
        assert call("jobs", "retry", *FIT, "cancelled", "--yes") == (0, told(3, 3))
        assert sorted(row["id"] for row in call("jobs", "list", "--state", "pending")[1]) == sorted(made)
        assert call("jobs", "drop", *FIT, "pending", "--yes") == (0, told(3, 3))
        assert call("jobs", "list") == (0, [])

    await asyncio.to_thread(all_in_turn)


async def test_what_is_retried_by_hand_wakes_the_nodes(database: SqlDatabase, log: Log, call: Call) -> None:
    jobs = await make_queue(database).enqueue_many(KEY, [{"order": 1}] * 3)
    for row in await claim(database, await join_node(database), count=3):
        await settle(database, row, "dead", error="no")
    async with listening(database, log) as node:
        heard = await heard_by(node)
        for arguments in (("retry", jobs[0].id), ("retry", *FIT, "dead", "--yes"), ("cancel", jobs[1].id)):
            assert (await asyncio.to_thread(call, "jobs", *arguments))[0] == 0
            assert await get(heard) == KEY
        assert (await asyncio.to_thread(call, "jobs", "retry", *FIT, "dead", "--yes"))[1] == told(0)
        (await asyncio.to_thread(call, "jobs", "drop", jobs[0].id))
        assert [await get(heard), heard.empty()] == [KEY, True], "nothing was retried, so nobody was woken"


async def test_jobs_that_were_left_are_told_with_the_reason_and_exit_1(
    database: SqlDatabase, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], call: Call
) -> None:
    async def change_jobs(*_: Any, **__: Any) -> Changed:
        return Changed(9, 6, moved=2, busy=1)

    await make_queue(database).enqueue(KEY, {})
    monkeypatch.setattr(many_jobs, "change_jobs", change_jobs)
    code, printed = await asyncio.to_thread(call, "jobs", "cancel", *FIT, "pending", "--yes")
    assert (code, [(one["code"], one["count"]) for one in printed["refused"]]) == (1, [("moved", 2), ("busy", 1)])
    assert await asyncio.to_thread(execute, ["jobs", "cancel", *FIT, "pending", "--yes"]) == 1
    shown = capsys.readouterr()
    assert shown.out == "6 of 9 jobs cancelled or asked to stop\n"
    assert [line.partition(":")[0] for line in shown.err.splitlines()] == ["2 were not", "1 were not"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), "cli.usage", "give the ID of a job, or --all"),
        (("--dry-run",), "cli.usage", "--dry-run goes with --all"),
        ((NOT_ONE, "--all"), "cli.usage", "not both"),
        (("--all", "--yes"), "cli.usage", "--all needs --key and --state"),
        (("--all", "--key", KEY, "--yes"), "cli.usage", "--all needs --key and --state"),
        (("--all", "--state", "dead", "--yes"), "cli.usage", "--all needs --key and --state"),
        ((*FIT, "running"), "cli.usage", "'running' is not one of"),
        ((*FIT, "gone"), "cli.usage", "'gone' is not one of"),
        ((*FIT, "dead"), "cli.usage", "say --yes to retry many jobs"),
        ((*FIT, "dead", "--before", "soon", "--yes"), "cli.usage", "'soon' is no instant"),
        (("--all", "--key", "invoice", "--state", "dead"), "cli.usage", "'invoice' is no service key"),
        (("--all", "--key", "shop:invoise", "--state", "dead", "--yes"), "queue.unknown_key", "shop:invoise"),
    ],
)
def test_a_filter_that_says_too_little_or_too_much_is_refused(
    call: Call, arguments: tuple[str, ...], code: str, said: str
) -> None:
    status, printed = call("jobs", "retry", *arguments)
    assert (status, printed["error"]["code"]) == (2, code)
    assert said in printed["error"]["message"]


async def test_a_key_that_is_no_longer_installed_but_has_jobs_is_known(database: SqlDatabase, call: Call) -> None:
    await make_queue(database, external=("old:key",)).enqueue("old:key", {})
    (row,) = await claim(database, await join_node(database), "old:key")
    await settle(database, row, "dead", error="no")
    drop = ("jobs", "drop", "--all", "--key", "old:key", "--state", "dead", "--yes")
    assert await asyncio.to_thread(call, *drop) == (0, told(1, 1))
    assert (await asyncio.to_thread(call, *drop))[0] == 2
