"""As long as you like, with as many nodes as you like: the quick run's harm, over and over."""

import os
from pathlib import Path

import pytest
from bench import SERVED, Plan, run
from nemesis import POSTGRESQL_DECK, SQLITE_DECK

SECONDS = float(os.environ.get("CHAOS_SECONDS", "120"))
NODES = int(os.environ.get("CHAOS_NODES", "5"))
pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS * 2 + 300)]


def modes() -> list[str]:
    """Return the modes: a third takes requests only, the others work, some of them do both."""
    cycle = ("!", "*,-chaos:lonely", f"!,{SERVED}", SERVED, "*,-chaos:lonely", "!")
    return [*(cycle[number % len(cycle)] for number in range(NODES)), "chaos:lonely"]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_a_long_run_keeps_every_promise(database, chaos_plugin, request, tmp_path):
    folder = Path(os.environ.get("CHAOS_KEEP", tmp_path)) / database
    folder.mkdir(parents=True)
    server = request.getfixturevalue("crashing_server") if database == "postgresql" else None
    plan = Plan(
        folder,
        chaos_plugin,
        server.create_database("chaos_soak") if server else f"sqlite:///{folder}/chaos.sqlite",
        POSTGRESQL_DECK if server else SQLITE_DECK,
        {"kill": SECONDS // 30, "rerun": SECONDS // 6, "takeovers": SECONDS // 60, "jobs": SECONDS * 3},
        server=server,
        seed=os.environ.get("CHAOS_SEED", "1"),
        seconds=SECONDS,
        pause_seconds=float(os.environ.get("CHAOS_PAUSE", "1.5")),
        producers=int(os.environ.get("CHAOS_PRODUCERS", "6")),
        drain_seconds=60.0,
        modes=modes(),
    )
    verdict = await run(plan)
    print(verdict.text(str(folder)))
    assert verdict.word == "ok", verdict.text(str(folder))
