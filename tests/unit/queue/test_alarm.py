"""The alarm and the lookout, on a coverage that the test turns and a clock that stands still."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from probes.fake_app import ListLog

from nocohost.api.errors import StoreUnavailableError, UnservedError
from nocohost.queue import lookout as module
from nocohost.queue.alarm import Alarm
from nocohost.queue.lookout import DOUBTED_SECONDS, Lookout
from nocohost.store.coverage import Glimpse
from nocohost.testing.clock import FakeClock

KEY = "shop:invoice"
NODE = "01938a4e-0000-7000-8000-000000000001"
OTHER = "01938a4e-0000-7000-8000-000000000000"
LOOK_SECONDS, GRACE_SECONDS, TRUSTED_SECONDS = 10.0, 5.0, 15.0
NOBODY = Glimpse(frozenset(), {KEY: 3}, NODE)
SERVED = Glimpse(frozenset({KEY}), {}, NODE)
THEIRS = Glimpse(frozenset(), {KEY: 3}, OTHER)


class FakeCoverage:
    """What is seen, and how often somebody looked."""

    def __init__(self) -> None:
        self.seen: Glimpse | Exception = NOBODY
        self.looks = 0

    async def glimpse(self, connection: Any) -> Glimpse:
        self.looks += 1
        if isinstance(self.seen, Exception):
            raise self.seen
        return self.seen


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def coverage(monkeypatch: pytest.MonkeyPatch) -> FakeCoverage:
    fake = FakeCoverage()
    monkeypatch.setattr(module, "glimpse", fake.glimpse)
    return fake


@pytest.fixture
def make_lookout(clock: FakeClock, coverage: FakeCoverage) -> Callable[..., Lookout]:
    class Seeing(Lookout):
        async def look(self, connection: Any = None) -> Glimpse:
            return await super().look(connection or object())

    return lambda **options: Seeing(cast("Any", None), clock=clock, look_seconds=LOOK_SECONDS, **options)


@pytest.fixture
def log() -> ListLog:
    return ListLog()


@pytest.fixture
def alarm(make_lookout: Callable[..., Lookout], clock: FakeClock, log: ListLog) -> Alarm:
    return Alarm(make_lookout(), NODE, clock=clock, log=log, look_seconds=LOOK_SECONDS)


async def test_the_alarm_is_told_once_after_a_grace_and_once_when_it_is_over(
    alarm: Alarm, coverage: FakeCoverage, clock: FakeClock, log: ListLog
) -> None:
    await alarm.turn()
    clock.advance(GRACE_SECONDS - 0.1)
    await alarm.turn()
    assert log.lines == []
    assert alarm.lines == []
    clock.advance(0.1)
    await alarm.turn()
    coverage.seen = Glimpse(frozenset(), {KEY: 1000}, NODE)
    clock.advance(LOOK_SECONDS)
    await alarm.turn()
    (told,) = log.events("key.unserved")
    assert (told["key"], told["due"]) == (KEY, "3 jobs")
    assert alarm.lines == [f"no live node serves {KEY}: 1000 or more jobs due"]
    coverage.seen = SERVED
    await alarm.turn()
    assert alarm.lines == []
    assert [fields["reason"] for fields in log.events("key.cleared")] == ["a live node serves it"]


async def test_a_starting_cluster_is_quiet(
    alarm: Alarm, coverage: FakeCoverage, clock: FakeClock, log: ListLog
) -> None:
    await alarm.turn()
    clock.advance(GRACE_SECONDS - 1)
    coverage.seen = SERVED
    await alarm.turn()
    coverage.seen = NOBODY
    clock.advance(GRACE_SECONDS)
    await alarm.turn()
    assert log.lines == []


async def test_work_that_goes_away_clears_the_alarm_too(
    alarm: Alarm, coverage: FakeCoverage, clock: FakeClock, log: ListLog
) -> None:
    await alarm.turn()
    clock.advance(GRACE_SECONDS)
    await alarm.turn()
    coverage.seen = Glimpse(frozenset(), {}, NODE)
    await alarm.turn()
    assert [fields["reason"] for fields in log.events("key.cleared")] == ["nothing of it is due, or it is paused"]


async def test_the_node_that_started_first_tells_for_all(
    alarm: Alarm, coverage: FakeCoverage, clock: FakeClock, log: ListLog
) -> None:
    coverage.seen = THEIRS
    await alarm.turn()
    clock.advance(GRACE_SECONDS)
    await alarm.turn()
    assert alarm.lines == [f"no live node serves {KEY}: 3 jobs due"], "every node knows"
    coverage.seen = Glimpse(frozenset({KEY}), {}, OTHER)
    await alarm.turn()
    assert (alarm.lines, log.lines) == ([], [])


@pytest.mark.parametrize(("seconds", "told"), [(2 * LOOK_SECONDS, 1), (2 * LOOK_SECONDS + 0.1, 0)])
async def test_the_next_in_line_tells_what_the_first_may_have_died_before_telling_but_nothing_old(
    alarm: Alarm, coverage: FakeCoverage, clock: FakeClock, log: ListLog, seconds: float, told: int
) -> None:
    coverage.seen = THEIRS
    await alarm.turn()
    clock.advance(GRACE_SECONDS)
    await alarm.turn()
    clock.advance(seconds)
    await alarm.turn()
    coverage.seen = NOBODY
    await alarm.turn()
    await alarm.turn()
    assert len(log.events("key.unserved")) == told
    coverage.seen = SERVED
    await alarm.turn()
    assert len(log.events("key.cleared")) == 1


async def test_an_enqueue_asks_once_a_second_at_most_and_never_while_the_key_is_served(
    make_lookout: Callable[..., Lookout], coverage: FakeCoverage, clock: FakeClock
) -> None:
    lookout = make_lookout()
    assert not lookout.trusts(KEY)
    for _ in range(3):
        assert [one["code"] for one in await lookout.warnings(KEY)] == ["key.unserved"]
    assert coverage.looks == 1
    coverage.seen = SERVED
    clock.advance(DOUBTED_SECONDS)
    assert await lookout.warnings(KEY) == ()
    assert lookout.trusts(KEY)
    clock.advance(TRUSTED_SECONDS - 0.1)
    assert await lookout.warnings(KEY) == ()
    assert coverage.looks == 2
    clock.advance(0.1)
    assert not lookout.trusts(KEY)
    lookout.forget()
    assert await lookout.warnings(KEY) == ()
    assert coverage.looks == 3


async def test_the_policy_refuse_asks_before_it_refuses(
    make_lookout: Callable[..., Lookout], coverage: FakeCoverage
) -> None:
    lookout = make_lookout(refuses=True)
    for looks in (1, 2):
        with pytest.raises(UnservedError, match=KEY):
            await lookout.warnings(KEY)
        assert coverage.looks == looks
    coverage.seen = SERVED
    assert await lookout.warnings(KEY) == ()


async def test_a_database_that_is_away_is_no_reason_to_warn_but_one_to_refuse(
    make_lookout: Callable[..., Lookout], coverage: FakeCoverage, alarm: Alarm, log: ListLog
) -> None:
    coverage.seen = StoreUnavailableError("away")
    with pytest.raises(StoreUnavailableError):
        await make_lookout(refuses=True).warnings(KEY)
    with pytest.raises(StoreUnavailableError):
        await alarm.turn()
    assert log.lines == []
