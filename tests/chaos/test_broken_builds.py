"""Each deliberately broken build is caught within three runs; only then does an ``ok`` of the bench mean something."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench import Plan, run

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]

STARTUP = Path(__file__).with_name("startup")
RUNS = 3
SECONDS = 10.0
STALE = {"stall": 4, "freeze": 2, "kill": 2}
CASES = {
    "no-claim-check": (STALE, ("I4 ending", "I5 fence")),
    "claim-not-renewed": (STALE, ("I4 ending", "I5 fence")),
    "fence-not-raised": ({"kill": 3, "roll": 2}, ("I5 fence",)),
    "loss-charged": ({"kill": 4}, ("I7 charge",)),
    "sweep-unscoped": ({"strand": 1, "kill": 2}, ("P8 scope",)),
    "sweep-by-age": ({"kill": 2, "cut": 3}, ("I6 overlap", "P8 loss")),
    "due-by-own-clock": ({"kill": 3}, ("P8 early",)),
    "ack-before-run": ({"kill": 4}, ("I4 ending",)),
    "enqueue-outside": ({"kill": 3}, ("I12 transaction",)),
    "drain-drops": ({"roll": 4}, ("I4 ending",)),
    "unknown-is-failure": ({"lose": 8, "kill": 1}, ("I3 duplicate",)),
    "no-idempotency": ({"kill": 3}, ("I3 duplicate",)),
    "no-fence-at-all": ({"stall": 2, "freeze": 3, "kill": 1}, ("I4 ending", "I6 overlap")),
    "no-self-fence": ({"stall": 3, "kill": 1}, ("I6 overlap",)),
    "two-transactions": ({"kill": 6}, ("I1 lost",)),
    "cancel-after-the-end": ({"kill": 3}, ("I4 ending",)),
}
"""For each build the harm that brings it to light, and the rules of which one must find it."""


def test_every_build_is_tried():
    assert set(CASES) == set(known_builds())


def known_builds():
    """Apply each build in a process of its own, so that a name that is gone shows at once; return their names."""
    listing = "import broken_builds; print(*broken_builds.BUILDS)"
    names = subprocess.run([sys.executable, "-c", listing], cwd=STARTUP, capture_output=True, text=True, check=True)
    for name in names.stdout.split():
        applying = [sys.executable, "-c", f"import broken_builds; broken_builds.apply({name!r})"]
        done = subprocess.run(applying, cwd=STARTUP, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return names.stdout.split()


@pytest.mark.parametrize("build", CASES)
async def test_a_broken_build_is_caught(build, chaos_plugin, crashing_server, tmp_path):
    chosen = os.environ.get("CHAOS_BUILDS")
    if chosen and build not in chosen.split(","):
        pytest.skip("not chosen")
    deck, rules = CASES[build]
    told = []
    for number in range(1, RUNS + 1):
        folder = tmp_path / str(number)
        (folder / "broken").mkdir(parents=True)
        url = crashing_server.create_database(f"{build}-{number}")
        options = {"seconds": SECONDS, "drain_seconds": 12.0, "build": build}
        verdict = await run(Plan(folder, chaos_plugin, url, deck, {}, crashing_server, str(number), **options))
        told.append(verdict.text(f"run {number} of {build}"))
        found = {finding.rule for finding in verdict.findings}
        if found & set(rules):
            print(told[-1])
            return
    assert any(tmp_path.glob("*/broken/*")), f"{build} broke nothing: adapt startup/broken_builds.py"
    pytest.fail(f"{build} was not caught in {RUNS} runs:\n" + "\n".join(told))
