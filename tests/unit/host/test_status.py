"""What a node says of its health, whatever the checks of plugins do."""

import asyncio
import sys

import pytest

from nocohost.api.check import Check
from nocohost.api.errors import StoreUnavailableError
from nocohost.host.status import NodeState, NodeStatus


def serving(*checks: Check, **more) -> NodeStatus:
    return NodeStatus(state=NodeState.SERVING, serves=["requests"], checks=checks, **more)


async def told(status: NodeStatus) -> tuple[bool, dict[str, tuple[bool, str]]]:
    report = await status.report("readyz")
    return report.ok, {check.name: (check.ok, check.message) for check in report.checks}


async def test_a_serving_node_is_ready_and_says_what_it_serves() -> None:
    ok, checks = await told(serving())
    assert ok
    assert checks["serves"] == (True, "requests")


async def test_a_quiet_node_and_one_that_sees_unserved_work_are_ready_all_the_same() -> None:
    line = "no live node serves shop:invoice: 3 jobs due"
    ok, checks = await told(serving(is_quiet=lambda: True, unserved=lambda: [line]))
    assert ok
    assert checks["state"] == (True, "quiet: claims no jobs until it is resumed")
    assert checks["unserved"] == (False, line)


async def fine() -> str:
    return "42 parts"


async def raises() -> None:
    raise ValueError("no parts")


async def exits() -> None:
    sys.exit(4)


async def cancels() -> None:
    raise asyncio.CancelledError


async def says_no_text() -> object:
    return 42


async def interrupts() -> str:
    raise KeyboardInterrupt("own")


def plain() -> str:
    return "no coroutine"


def plain_raises() -> None:
    raise ValueError("no parts")


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (raises, "ValueError: no parts"),
        (exits, "SystemExit: 4"),
        (interrupts, "KeyboardInterrupt: own"),
        (cancels, "was cancelled"),
        (says_no_text, "TypeError: the check returned int, not text or None"),
        (plain, "TypeError: "),
        (plain_raises, "ValueError: no parts"),
    ],
)
async def test_a_check_that_fails_in_any_way_is_failing_and_no_more(probe, message) -> None:
    ok, checks = await told(serving(Check("shop.parts", probe)))
    assert not ok
    assert not checks["shop.parts"][0]
    assert checks["shop.parts"][1].startswith(message)
    ok, checks = await told(serving(Check("shop.parts", probe, critical=False), Check("shop.fine", fine)))
    assert ok
    assert checks["shop.fine"] == (True, "42 parts")


async def test_a_database_that_is_away_makes_the_node_unready_but_leaves_it_alive() -> None:
    async def away() -> None:
        raise StoreUnavailableError("the database is away")

    status = serving(ping=away)
    ok, checks = await told(status)
    assert not ok
    assert checks["database"] == (False, "the database is away")
    assert (await status.report("livez")).ok


@pytest.mark.parametrize("which", ["silence", "lapse"])
async def test_a_silent_loop_or_a_lapsed_lease_makes_the_node_unready(which) -> None:
    status = serving(**{which: lambda: "for too long"})
    ok, checks = await told(status)
    assert not ok
    assert checks["loop" if which == "silence" else "lease"] == (False, "for too long")
    assert (await status.report("livez")).ok is (which == "lapse")


@pytest.mark.parametrize("state", [NodeState.STARTING, NodeState.DRAINING, NodeState.STOPPED])
async def test_only_a_node_that_serves_is_ready(state) -> None:
    status = serving()
    status.state = state
    assert not (await told(status))[0]


async def test_a_node_that_serves_nothing_of_its_mode_is_not_ready_and_quarantine_is_told() -> None:
    status = serving(quarantined=["nocohost.services a:b: broken"])
    ok, checks = await told(status)
    assert ok
    assert checks["quarantined"] == (False, "nocohost.services a:b: broken")
    status.serves = []
    assert not (await told(status))[0]
