"""The view that autoscalers read, and its HTTP form, on both databases."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from probes.web_door import Tokens, fake_app, open_door
from sqlalchemy import insert, text

from nocohost.api.errors import UnknownKeyError
from nocohost.node.identity import new_id
from nocohost.store.database import SqlDatabase
from nocohost.store.scaling import scaling_numbers
from nocohost.store.schema import jobs, keys

KEY = "shop:invoice"
NOW = datetime.now(UTC)


def job(state: str = "pending", *, due: float = -10.0, key: str = KEY, **values: Any) -> dict[str, Any]:
    """Return the row of a job that is due in so many seconds."""
    run_at = NOW + timedelta(seconds=due)
    row = {"id": new_id(), "key": key, "state": state, "payload": {}, "run_at": run_at, "enqueued_at": run_at}
    return row | {"group": None} | values


async def numbers(database: SqlDatabase, *rows: dict[str, Any], key: str = KEY) -> tuple[int, int]:
    """Store the jobs; return how many of ``key`` are runnable, and running."""
    async with database.begin() as connection:
        if rows:
            await connection.execute(insert(jobs), rows)
    async with database.connect() as connection:
        found = await scaling_numbers(connection, key)
    return found.runnable, found.running


async def test_a_key_without_jobs_has_no_row_and_counts_as_nothing(database: SqlDatabase) -> None:
    assert await numbers(database, job(key="shop:mail")) == (0, 0)
    async with database.connect() as connection:
        query = text("SELECT key, runnable, running FROM nocohost_scaling")
        assert (await connection.execute(query)).all() == [("shop:mail", 1, 0)]


async def test_due_jobs_are_runnable_and_later_ones_are_not(database: SqlDatabase) -> None:
    rows = [job(due=-1000), job(due=-1), job(due=3600), job("running"), job("running", due=3600)]
    assert await numbers(database, *rows) == (2, 2)


async def test_the_age_is_that_of_the_oldest_runnable_job(database: SqlDatabase) -> None:
    rows = [job(due=-500), job(due=-20), job("running", due=-9000), job(due=9000)]
    await numbers(database, *rows)
    async with database.connect() as connection:
        found = await scaling_numbers(connection, KEY)
    passed = (datetime.now(UTC) - NOW).total_seconds()
    assert 500 <= found.oldest_seconds <= 505 + passed
    async with database.begin() as connection:
        await connection.execute(jobs.delete().where(jobs.c.state == "pending"))
    async with database.connect() as connection:
        assert (await scaling_numbers(connection, KEY)).oldest_seconds == 0


async def test_a_paused_key_has_nothing_runnable(database: SqlDatabase) -> None:
    async with database.begin() as connection:
        await connection.execute(
            insert(keys), [{"key": KEY, "paused_at": NOW}, {"key": "shop:mail", "paused_at": None}]
        )
    assert await numbers(database, job(), job("running"), job(key="shop:mail")) == (0, 1)
    assert await numbers(database, key="shop:mail") == (1, 0)


async def test_a_group_counts_once_and_not_while_it_runs(database: SqlDatabase) -> None:
    first = [job(due=-number, group="one") for number in range(1, 6)]
    assert await numbers(database, *first) == (1, 0)
    assert await numbers(database, job("running", group="two"), *[job(group="two") for _ in range(3)]) == (1, 1)
    assert await numbers(database, job(due=-5, key="shop:mail", group="two"), key="shop:mail") == (1, 0)


async def test_a_group_waits_for_its_first(database: SqlDatabase) -> None:
    later = job(due=3600, group="one") | {"enqueued_at": NOW - timedelta(hours=1)}
    assert await numbers(database, later, job(group="one")) == (0, 0)


async def test_the_view_has_the_columns_of_the_contract(database: SqlDatabase) -> None:
    async with database.connect() as connection:
        result = await connection.execute(text("SELECT * FROM nocohost_scaling"))
        assert list(result.keys()) == ["key", "runnable", "running", "oldest_seconds"]


async def test_autoscalers_read_it_over_http_too(database: SqlDatabase) -> None:
    def serving(key: str) -> bool:
        if key != KEY:
            raise UnknownKeyError(f"no installed plugin declares the service key {key!r}")
        return False

    await numbers(database, job(), job(due=-60), job("running"))
    app = fake_app(database=database, serving=serving)
    async with open_door(app=app, tokens=Tokens(viewer=["read"], keda=["queue.read"], mail=["mail.read"])) as door:

        async def ask(token: str, key: str = KEY) -> Any:
            return await door.ask("GET", f"/api/v1/scaling/{key}", token=f"nch_{token}_secret")

        answer = (await ask("keda")).json()
        assert answer.pop("oldest_seconds") >= 60
        assert answer == {"key": KEY, "runnable": 2, "running": 1, "demand": 3}
        assert (await ask("viewer")).status == 200
        assert (await ask("mail")).status == 403
        assert (await ask("keda", "shop:invoise")).status == 404


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_the_query_of_the_documentation_works(database: SqlDatabase, read_query: Callable[[], str]) -> None:
    await numbers(database, job(), job("running"))
    async with database.connect() as connection:
        assert (await connection.execute(text(read_query()))).scalar_one() == 2
        assert (await connection.execute(text(read_query().replace(KEY, "shop:none")))).scalar_one() == 0


@pytest.fixture
def read_query(request: pytest.FixtureRequest) -> Callable[[], str]:
    """The SQL that docs/how-to/monitor.md hands to KEDA."""

    def read() -> str:
        page = (request.config.rootpath / "docs" / "how-to" / "monitor.md").read_text(encoding="utf-8")
        lines = page.split("query: >-\n")[1].splitlines()
        sql = [line.strip() for line in lines[: next(i for i, one in enumerate(lines) if "targetQuery" in one)]]
        return " ".join(sql)

    return read
