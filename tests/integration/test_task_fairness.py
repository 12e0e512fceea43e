"""Owners take turns: nobody's few tasks wait for somebody's fifty thousand."""

from typing import Any

from sqlalchemy import insert, select, update

from builtin_plugins.async_task import KEY
from builtin_plugins.async_task.desk import Desk, NewTask
from builtin_plugins.async_task.records import new_id, next_tag
from builtin_plugins.async_task.tables import tasks
from nocohost.node.identity import new_claim_id
from nocohost.store.hot.values import NewJob, Settlement, Want
from nocohost.store.insertion import insert_jobs

MANY = 50_000
FEW = 10
PAGE = 5000


async def give_many(database: Any, owner: str) -> None:
    """Make fifty thousand tasks as ``Desk.start`` would, one after another."""
    tag, now = 0, 1
    for _ in range(MANY // PAGE):
        rows, news = [], []
        for _ in range(PAGE):
            tag += 1 + min((max(tag, now) - now) // 100, 9)
            task_id, job_id = new_id(), new_id()
            news.append(NewJob(job_id, KEY, f'{{"task":"{task_id}"}}', tag, None, None, None, 0, b""))
            rows.append(
                {"id": task_id, "job_id": job_id, "tag": tag, "kind": "shop-report", "title": "many", "owner": owner}
                | {"params": {}, "state": "pending", "fence": 0, "attempts": 0, "row_errors": 0}
            )
        async with database.begin() as connection:
            await insert_jobs(connection, news)
            created = {"created_at": database._clock.now()}
            await connection.execute(insert(tasks), [row | created for row in rows])
    async with database.begin() as connection:
        assert await next_tag(connection, owner) == tag + 10, "these tags are those that tasks really get"


async def run_next(database: Any, node_id: str, slots: int) -> list[str]:
    """Claim as a node would, end the jobs at once, and return whose they were."""
    claim_id = new_claim_id()
    jobs = await database.hot.claim(node_id, claim_id, [Want(KEY, slots, isolated=True)])
    await database.hot.settle([Settlement(job.id, claim_id, "succeeded", None, None, False, False, 0) for job in jobs])
    async with database.begin() as connection:
        over = update(tasks).where(tasks.c.job_id.in_([job.id for job in jobs])).values(state="succeeded")
        return [row.owner for row in await connection.execute(over.returning(tasks.c.owner))]


async def test_small_owners_are_done_within_three_times_their_solo_time_beside_fifty_thousand_tasks(node, database_url):
    async with node("!", NOCOHOST_DATABASE__URL=database_url()) as front:
        database, desk = front.running.parts.database, Desk(front.app)
        await give_many(database, "big")
        for _ in range(100):  # it has had its turn alone for a while
            assert await run_next(database, front.app.node.id, 4) == ["big"] * 4
        for owner in ("ada", "bob"):
            for _ in range(FEW):
                await desk.start(NewTask("shop-report", {}), owner)
        turns: list[str] = []
        while turns.count("ada") < FEW or turns.count("bob") < FEW:
            turns += await run_next(database, front.app.node.id, 1)
            assert len(turns) <= 3 * FEW, turns
        assert turns.count("big") >= 1, "whoever has much is not starved either"
        # Somebody who comes later does not wait for those who came before, and one who has had a turn saves none up.
        await desk.start(NewTask("shop-report", {}), "late")
        assert "late" in [one for _ in range(3) for one in await run_next(database, front.app.node.id, 1)]


async def test_a_task_that_no_node_can_begin_holds_up_nobodys_turn(node, database_url):
    async with node("!", NOCOHOST_DATABASE__URL=database_url()) as front:
        desk = Desk(front.app)
        stuck = await desk.start(NewTask("shop-report", {}), "ada")
        async with front.app.database.begin() as connection:
            await connection.execute(update(tasks).where(tasks.c.id == stuck.row.id).values(error="no such kind here"))
        ids = [(await desk.start(NewTask("shop-report", {}), "bob")).row.id for _ in range(5)]
        async with front.app.database.begin() as connection:
            await connection.execute(update(tasks).where(tasks.c.id.in_(ids[:4])).values(state="succeeded"))
            turn = await connection.scalar(select(tasks.c.tag).where(tasks.c.id == ids[4]))
            assert await next_tag(connection, "cid") == turn + 1
