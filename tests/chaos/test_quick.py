"""A short run on each database, with every kind of harm: nothing lost, nothing done twice."""

import os

import pytest
from bench import Plan, run
from nemesis import POSTGRESQL_DECK, SQLITE_DECK

pytestmark = pytest.mark.timeout(150)

FLOORS = {
    "jobs": 150,
    "rerun": 10,
    "takeovers": 1,
    "rolled_back": 5,
    "cancelled": 3,
    "dead": 3,
    "kill": 2,
    "freeze": 1,
    "roll": 1,
    "stranded": 1,
    "recoveries": 3,
}
POSTGRESQL_FLOORS = {**FLOORS, "crash": 1, "lose": 2, "stall": 1, "late_writes": 5, "lost_answers": 5, "unsure": 3}


def judged(verdict, folder):
    print(verdict.text(str(folder)))
    assert verdict.word == "ok", verdict.text(str(folder))


async def test_sqlite_keeps_every_promise(chaos_plugin, tmp_path):
    plan = Plan(
        tmp_path,
        chaos_plugin,
        f"sqlite:///{tmp_path}/chaos.sqlite",
        SQLITE_DECK,
        FLOORS,
        seed=os.environ.get("CHAOS_SEED", "1"),
    )
    judged(await run(plan), tmp_path)


async def test_postgresql_keeps_every_promise(chaos_plugin, crashing_server, tmp_path):
    plan = Plan(
        tmp_path,
        chaos_plugin,
        crashing_server.create_database("chaos_quick"),
        POSTGRESQL_DECK,
        POSTGRESQL_FLOORS,
        server=crashing_server,
        seed=os.environ.get("CHAOS_SEED", "1"),
        pause_seconds=1.0,
    )
    judged(await run(plan), tmp_path)
