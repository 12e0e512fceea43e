"""A short run on each database, with every kind of harm: nothing lost, nothing done twice."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from bench import Plan, run
from nemesis import POSTGRESQL_DECK, SQLITE_DECK

pytestmark = pytest.mark.timeout(300)

FLOORS = {
    "jobs": 150,
    "rerun": 10,
    "fenced_nodes": 1,
    "rolled_back": 5,
    "ticks": 10,
    "cancelled": 3,
    "dead": 3,
    "kill": 2,
    "freeze": 1,
    "roll": 1,
    "stranded": 1,
    "recoveries": 1,
}
POSTGRESQL_FLOORS = {
    **FLOORS,
    "takeovers": 1,
    "crash": 1,
    "lose": 2,
    "stall": 1,
    "late_writes": 5,
    "lost_answers": 5,
    "unsure": 3,
}


@pytest.fixture
def folder(tmp_path, request):
    """Where the records of the run go."""
    kept = os.environ.get("CHAOS_KEEP")
    folder = Path(kept) / request.node.name if kept else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def must_be_kept(plan):
    """Make the run, and another one with another seed if too little happened in it to tell."""
    verdict = await run(plan)
    print(verdict.text(str(plan.folder)))
    if verdict.word == "unknown":
        url = plan.url.replace("chaos.sqlite", "again.sqlite")
        if plan.server is not None:
            url = plan.server.create_database("chaos_again")
        verdict = await run(replace(plan, folder=plan.folder / "again", url=url, seed=f"{plan.seed} again"))
    assert verdict.word == "ok", verdict.text(str(plan.folder))


async def test_sqlite_keeps_every_promise(chaos_plugin, folder):
    plan = Plan(
        folder,
        chaos_plugin,
        f"sqlite:///{folder}/chaos.sqlite",
        SQLITE_DECK,
        FLOORS,
        seed=os.environ.get("CHAOS_SEED", "1"),
    )
    await must_be_kept(plan)


async def test_postgresql_keeps_every_promise(chaos_plugin, crashing_server, folder):
    plan = Plan(
        folder,
        chaos_plugin,
        crashing_server.create_database("chaos_quick"),
        POSTGRESQL_DECK,
        POSTGRESQL_FLOORS,
        server=crashing_server,
        seed=os.environ.get("CHAOS_SEED", "1"),
        pause_seconds=1.0,
    )
    await must_be_kept(plan)
