"""When schedules tick: written out for days on which clocks change, and held against a plain reference elsewhere."""

from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nocohost.api.errors import PluginContractError
from nocohost.api.schedule import Schedule
from nocohost.node.ticks import ALIASES, EPOCH, Ticks, latest_tick, read_ticks, ticks_from

BERLIN, SANTIAGO = "Europe/Berlin", "America/Santiago"


def cron(expression: str, zone: str = "UTC") -> Ticks:
    return read_ticks(Schedule("test", "shop:mail", {}, cron=expression, timezone=zone))


def interval(seconds: float) -> Ticks:
    return read_ticks(Schedule("test", "shop:mail", {}, interval_seconds=seconds))


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def following(ticks: Ticks, start: str, count: int) -> list[str]:
    """The next ``count`` ticks after ``start``, in UTC."""
    first = ticks.after(instant(start))
    found = islice(ticks_from(ticks, first, datetime(2100, 1, 1, tzinfo=UTC)), count)
    return [f"{tick:%Y-%m-%d %H:%M}" for tick in found]


@pytest.mark.parametrize(
    ("zone", "expression", "start", "ticks"),
    [
        # Berlin, 29 March 2026: 02:00 +01:00 becomes 03:00 +02:00. 02:30 is left out; its tick comes as the gap ends.
        (BERLIN, "30 2 * * *", "2026-03-27T12:00Z", ["2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"]),
        (BERLIN, "0 2,3 * * *", "2026-03-28T12:00Z", ["2026-03-29 01:00", "2026-03-30 00:00", "2026-03-30 01:00"]),
        (BERLIN, "0 * * * *", "2026-03-28T23:30Z", ["2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 02:00"]),
        (BERLIN, "*/30 2 * * *", "2026-03-28T12:00Z", ["2026-03-30 00:00", "2026-03-30 00:30", "2026-03-31 00:00"]),
        # Berlin, 25 October 2026: 03:00 +02:00 becomes 02:00 +01:00. 02:30 is shown twice; it ticks at the first.
        (BERLIN, "30 2 * * *", "2026-10-23T12:00Z", ["2026-10-24 00:30", "2026-10-25 00:30", "2026-10-26 01:30"]),
        (BERLIN, "30 2 * * *", "2026-10-25T00:45Z", ["2026-10-26 01:30"]),
        (BERLIN, "30 2 * * *", "2026-10-25T01:10Z", ["2026-10-26 01:30"]),
        (BERLIN, "0 * * * *", "2026-10-24T23:30Z", ["2026-10-25 00:00", "2026-10-25 01:00", "2026-10-25 02:00"]),
        (
            BERLIN,
            "*/30 2 * * *",
            "2026-10-24T12:00Z",
            ["2026-10-25 00:00", "2026-10-25 00:30", "2026-10-25 01:00", "2026-10-25 01:30", "2026-10-26 01:00"],
        ),
        # Santiago, 6 September 2026: 00:00 -04:00 becomes 01:00 -03:00, so this Sunday has no midnight.
        (SANTIAGO, "0 0 * * *", "2026-09-05T12:00Z", ["2026-09-06 04:00", "2026-09-07 03:00", "2026-09-08 03:00"]),
        (SANTIAGO, "30 0 * * 0", "2026-08-31T12:00Z", ["2026-09-06 04:00", "2026-09-13 03:30"]),
        (SANTIAGO, "0 * * * *", "2026-09-06T02:30Z", ["2026-09-06 03:00", "2026-09-06 04:00", "2026-09-06 05:00"]),
        (SANTIAGO, "*/20 0 * * 0", "2026-08-31T12:00Z", ["2026-09-13 03:00", "2026-09-13 03:20", "2026-09-13 03:40"]),
        (SANTIAGO, "*/30 * * * 0", "2026-09-05T12:00Z", ["2026-09-06 04:00", "2026-09-06 04:30", "2026-09-06 05:00"]),
        # Santiago, 4 April 2026: 24:00 -03:00 becomes 23:00 -04:00, so this Saturday has two 23:30.
        (SANTIAGO, "30 23 * * *", "2026-04-03T12:00Z", ["2026-04-04 02:30", "2026-04-05 02:30", "2026-04-06 03:30"]),
        (SANTIAGO, "0 0 * * *", "2026-04-04T12:00Z", ["2026-04-05 04:00", "2026-04-06 04:00"]),
        (SANTIAGO, "0 * * * *", "2026-04-05T01:30Z", ["2026-04-05 02:00", "2026-04-05 03:00", "2026-04-05 04:00"]),
        # Lord Howe, 4 October 2026: 02:00 +10:30 becomes 02:30 +11:00, half an hour is left out.
        ("Australia/Lord_Howe", "*/15 3 * * *", "2026-10-03T12:00Z", ["2026-10-03 16:00", "2026-10-03 16:15"]),
        ("Australia/Lord_Howe", "10 2 * * *", "2026-10-03T12:00Z", ["2026-10-03 15:30", "2026-10-04 15:10"]),
    ],
)
def test_ticks_where_clocks_change(zone: str, expression: str, start: str, ticks: list[str]) -> None:
    assert following(cron(expression, zone), start, len(ticks)) == ticks


@pytest.mark.parametrize(("zone", "year"), [(BERLIN, 2026), (SANTIAGO, 2026)])
def test_a_daily_time_ticks_once_on_every_day_of_a_year_and_an_hourly_one_every_hour(zone: str, year: int) -> None:
    first, last = datetime(year, 1, 1, tzinfo=ZoneInfo(zone)), datetime(year + 1, 1, 1, tzinfo=ZoneInfo(zone))
    start, end = first.astimezone(UTC) - timedelta(microseconds=1), last.astimezone(UTC) - timedelta(microseconds=1)
    daily = cron("30 2 * * *", zone)
    days = [tick.astimezone(ZoneInfo(zone)).date() for tick in ticks_from(daily, daily.after(start), end)]
    assert days == [date(year, 1, 1) + timedelta(days=day) for day in range(365)]
    hourly = cron("@hourly", zone)
    hours = list(ticks_from(hourly, hourly.after(start), end))
    assert {later - earlier for earlier, later in pairwise(hours)} == {timedelta(hours=1)}
    assert len(hours) == 365 * 24


ZONES = (
    "Africa/Cairo", "Africa/Casablanca", "Africa/Johannesburg", "Africa/Lagos", "America/Anchorage", "America/Asuncion",
    "America/Bogota", "America/Chicago", "America/Denver", "America/Halifax", "America/Havana", "America/Los_Angeles",
    "America/Mexico_City", "America/New_York", "America/Nuuk", "America/Santiago", "America/Sao_Paulo",
    "America/St_Johns", "Antarctica/Troll", "Asia/Beirut", "Asia/Gaza", "Asia/Jerusalem", "Asia/Kathmandu",
    "Asia/Kolkata", "Asia/Shanghai", "Asia/Tehran", "Asia/Tokyo", "Atlantic/Azores", "Australia/Adelaide",
    "Australia/Lord_Howe", "Australia/Sydney", "Europe/Berlin", "Europe/Chisinau", "Europe/Dublin", "Europe/London",
    "Europe/Moscow", "Pacific/Apia", "Pacific/Auckland", "Pacific/Chatham", "Pacific/Easter",
)  # fmt: skip
YEARS = (date(2024, 1, 1), date(2026, 12, 31))
DAILY = {"30 2 * * *": ([2], [30]), "0 0 * * *": ([0], [0])}
TIMES = {"15,45 1-3 * * *": ([1, 2, 3], [15, 45])}
CLOCKS = {
    "*/15 * * * *": (range(24), (0, 15, 30, 45)),
    "7 * * * *": (range(24), [7]),
    "*/20 2 * * *": ([2], (0, 20, 40)),
}


def shown_at(wall: datetime, zone: ZoneInfo) -> list[datetime]:
    """The instants at which a wall clock of ``zone`` shows ``wall``: one, none in a gap, two in a fold."""
    candidates = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(one for one in candidates if one.astimezone(zone).replace(tzinfo=None) == wall)


def first_shown_at_or_after(wall: datetime, zone: ZoneInfo) -> datetime:
    while not (found := shown_at(wall, zone)):
        wall += timedelta(minutes=1)
    return found[0]


def walls_of(day: date, hours: object, minutes: object) -> list[datetime]:
    return [datetime(day.year, day.month, day.day, hour, minute) for hour in hours for minute in minutes]  # noqa: DTZ001


@pytest.mark.parametrize("name", ZONES)
def test_three_years_of_ticks_equal_the_reference(name: str) -> None:
    assert len(ZONES) == len(set(ZONES)) == 40
    zone, (first, last) = ZoneInfo(name), YEARS
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    for expression, (hours, minutes) in DAILY.items():
        expected = {first_shown_at_or_after(wall, zone) for day in days for wall in walls_of(day, hours, minutes)}
        assert_same(cron(expression, name), sorted(expected))
    offsets = [datetime(day.year, day.month, day.day, 12, tzinfo=zone).utcoffset() for day in days]
    changing = {days[place] for place in range(1, len(days)) if offsets[place] != offsets[place - 1]}
    for day in changing or {first}:
        near = [day + timedelta(days=number) for number in range(-2, 3)]
        for expression, (hours, minutes) in TIMES.items():
            walls = [wall for one in near for wall in walls_of(one, hours, minutes)]
            assert_same(cron(expression, name), sorted({first_shown_at_or_after(wall, zone) for wall in walls}))
        for expression, (hours, minutes) in CLOCKS.items():
            walls = [wall for one in near for wall in walls_of(one, hours, minutes)]
            assert_same(cron(expression, name), sorted({found for wall in walls for found in shown_at(wall, zone)}))


def assert_same(ticks: Ticks, expected: list[datetime]) -> None:
    first = ticks.after(expected[0] - timedelta(microseconds=1))
    assert list(ticks_from(ticks, first, expected[-1])) == expected


@given(
    zone=st.sampled_from(ZONES),
    expression=st.sampled_from([*DAILY, *TIMES, *CLOCKS, "0 0 1 * *", "5 4 * * 7", "0 12 LW * *", "*/7 */5 * * 1-5"]),
    start=st.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_whoever_asks_and_whenever_the_next_tick_is_the_same(zone: str, expression: str, start: datetime) -> None:
    ticks = cron(expression, zone)
    tick = ticks.after(start)
    assert tick is not None
    assert tick > start
    between = start + (tick - start) / 3
    assert ticks.after(between) == tick
    assert ticks.after(tick - timedelta(microseconds=1)) == tick
    assert tick.second == tick.microsecond == 0


@pytest.mark.parametrize("seconds", [1, 1.5, 7, 60, 3600, 86_400, 1_000_000])
def test_an_interval_ticks_at_its_multiples_since_1970(seconds: float) -> None:
    ticks, start = interval(seconds), instant("2026-05-04T03:02:01.5Z")
    found = list(islice(ticks_from(ticks, ticks.after(start), datetime(2100, 1, 1, tzinfo=UTC)), 3))
    assert [(tick - EPOCH) % timedelta(seconds=seconds) for tick in found] == [timedelta(0)] * 3
    assert timedelta(0) < found[0] - start <= timedelta(seconds=seconds)
    assert ticks.after(found[0]) == found[1]


@given(step=st.integers(1, 5000), first=st.integers(0, 100), span=st.integers(0, 10**6))
@example(step=1, first=0, span=10**5)
def test_the_latest_tick_is_found_without_walking_all_of_them(step: int, first: int, span: int) -> None:
    ticks = interval(step)
    begin = ticks.after(EPOCH + timedelta(days=20_000, seconds=first * step))
    assert begin is not None
    until = begin + timedelta(seconds=span)
    assert latest_tick(ticks, begin, until) == begin + timedelta(seconds=span // step * step)
    assert latest_tick(ticks, begin, begin - timedelta(microseconds=1)) is None


def test_the_latest_tick_of_a_rare_expression_is_found() -> None:
    yearly = cron("@yearly", BERLIN)
    assert latest_tick(yearly, instant("2020-01-01T00:00+01:00"), instant("2026-06-01T00:00Z")) == instant(
        "2026-01-01T00:00+01:00"
    )


@pytest.mark.parametrize(
    ("alias", "first"),
    [
        ("@hourly", "2026-05-05 06:00"),
        ("@daily", "2026-05-06 00:00"),
        ("@midnight", "2026-05-06 00:00"),
        ("@weekly", "2026-05-10 00:00"),
        ("@monthly", "2026-06-01 00:00"),
        ("@yearly", "2027-01-01 00:00"),
        ("@annually", "2027-01-01 00:00"),
    ],
)
def test_aliases(alias: str, first: str) -> None:
    assert alias in ALIASES
    assert following(cron(alias), "2026-05-05T05:30Z", 1) == [first]
    assert following(cron(f" {alias.upper()} "), "2026-05-05T05:30Z", 1) == [first]


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"cron": "* * * * * *"}, r"'\* \* \* \* \* \*', 6 fields .*five fields.*use interval_seconds"),
        ({"cron": "* * * *"}, "4 fields"),
        ({"cron": ""}, "0 fields"),
        ({"cron": "@reboot"}, "1 fields .*@hourly"),
        ({"cron": "61 * * * *"}, "wrong: minute"),
        ({"cron": "0 24 * * *"}, "wrong: hour"),
        ({"cron": "0 0 31 2 *"}, "wrong: day-of-month"),
        ({"cron": "0 0 * 13 *"}, "wrong: month"),
        ({"cron": "0 0 * * 8"}, "wrong: day-of-week"),
        ({"cron": "*/0 * * * *"}, "wrong: minute"),
        ({"cron": "5-1 * * * *"}, "wrong: minute"),
        ({"cron": "0 0 * * * " + "0" * 300}, "310 characters"),
        ({"cron": "0 2 * * *", "timezone": "Europe/Berlim"}, "no time zone 'Europe/Berlim' .*IANA"),
        ({"cron": "0 2 * * *", "timezone": "America"}, "no time zone 'America'"),
        ({"cron": "0 2 * * *", "timezone": "../../etc/passwd"}, "no time zone"),
        ({"cron": "0 2 * * *", "timezone": "localtime"}, "no time zone"),
        ({"cron": "0 2 * * *", "timezone": ""}, "no time zone"),
        ({"interval_seconds": 0.5}, "interval_seconds is 0.5 .*1 to"),
        ({"interval_seconds": float("nan")}, "interval_seconds is nan"),
        ({"interval_seconds": float("inf")}, "interval_seconds is inf"),
        ({"interval_seconds": "60"}, "interval_seconds is '60'"),
        ({}, "needs either"),
        ({"cron": "@daily", "interval_seconds": 60}, "needs either"),
        ({"cron": 5}, "are texts"),
    ],
)
def test_what_cannot_be_is_refused_with_what_and_where(given_: dict[str, object], says: str) -> None:
    with pytest.raises(PluginContractError, match=f"schedule 'nightly': .*{says}"):
        read_ticks(Schedule("nightly", "shop:mail", {}, **given_))  # type: ignore[arg-type]


@given(st.text("0123456789*/,-#LWMONJAN ", max_size=20), st.sampled_from(["UTC", BERLIN]))
@example("1#2/3 * * * *", BERLIN)
@example("* * * * 1#5,L", BERLIN)
def test_any_text_is_an_expression_or_a_clear_error(text: str, zone: str) -> None:
    try:
        ticks = cron(text, zone)
    except PluginContractError:
        return
    assert ticks.after(EPOCH) is not None
    assert ticks.words


@pytest.mark.parametrize(
    ("ticks", "words"),
    [
        (cron("30 2 * * *", BERLIN), "At 02:30 every day, Europe/Berlin"),
        (cron("@hourly"), "At the start of every hour"),
        (interval(1), "Every second"),
        (interval(90), "Every 90 seconds"),
        (interval(900), "Every 15 minutes"),
        (interval(3600), "Every hour"),
        (interval(172_800), "Every 2 days"),
        (interval(1.5), "Every 1.5 seconds"),
    ],
)
def test_ticks_in_words(ticks: Ticks, words: str) -> None:
    assert ticks.words == words
