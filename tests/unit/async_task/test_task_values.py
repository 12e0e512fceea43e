"""The values that kinds of tasks are described with: forms, kinds, row errors, and the pace of an attempt."""

import signal

import pytest
from pydantic import BaseModel

from builtin_plugins.async_task import RowError, TaskError, TaskFailedError, TaskForm, TaskKind
from builtin_plugins.async_task.limits import TaskTimeoutError, time_limit
from builtin_plugins.async_task.pace import Pace
from builtin_plugins.async_task.standstill import pause_seconds
from builtin_plugins.async_task.task import checked_checkpoint, checked_progress
from nocohost import PayloadError, PluginContractError


class Params(BaseModel):
    rows: int = 1


def plain(task):
    return None


async def awaited(task, app):
    return None


@pytest.mark.parametrize("kind", ["", "Report", "shop_report", "shop report", "-a", "a-", "a--b", "a" * 65, "á"])
def test_a_kind_that_is_no_name_is_refused(kind: str) -> None:
    with pytest.raises(PluginContractError, match="no kind"):
        TaskForm(kind, "Report", Params)
    with pytest.raises(PluginContractError, match="no kind"):
        TaskKind(kind, plain)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"memory_mib": 0}, "memory_mib is 0"),
        ({"timeout_seconds": 0}, "timeout_seconds is 0"),
        ({"attempts": 0}, "attempts is 0"),
        ({"attempts": 21}, "attempts is 21"),
    ],
)
def test_limits_of_a_kind_that_cannot_be_are_refused(options: dict[str, int], fault: str) -> None:
    with pytest.raises(PluginContractError, match=fault):
        TaskKind("report", plain, **options)


def test_a_kind_knows_how_its_run_is_called() -> None:
    assert (TaskKind("report", plain).is_async, TaskKind("report", plain).takes_app) == (False, False)
    assert (TaskKind("report", awaited).is_async, TaskKind("report", awaited).takes_app) == (True, True)
    with pytest.raises(PluginContractError, match="cannot be called so"):
        TaskKind("report", lambda: None)


def test_a_form_asks_a_permission_that_is_one() -> None:
    assert TaskForm("report", "Report", Params).permission == "task.create"
    with pytest.raises(PluginContractError, match="'report' is no permission"):
        TaskForm("report", "Report", Params, permission="report")
    with pytest.raises(PluginContractError, match="file_bytes is 0"):
        TaskForm("report", "Report", Params, file_bytes=0)


def test_what_a_row_error_quotes_is_short_and_can_be_stored() -> None:
    kept = RowError(7, "net", "a\0b" + "x" * 600, "no number \ud800").shortened()
    assert (len(kept.value), kept.value[:3], kept.value[-1]) == (500, "a\N{REPLACEMENT CHARACTER}b", "…")
    assert kept.reason == "no number ?"


def test_progress_is_stored_twice_a_second_and_at_the_end() -> None:
    pace = Pace()
    stored = [pace.step(done, 100, "rows", done / 100) for done in range(101)]
    kept = [one for one in stored if one is not None]
    assert [one["done"] for one in kept] == [0, 50, 100]
    assert kept[1] == {"done": 50, "total": 100, "unit": "rows", "rate": 100.0, "seconds_left": 0.5}
    assert kept[0]["rate"] is None


def test_the_rate_follows_the_last_seconds_and_begins_anew_when_the_count_does() -> None:
    pace = Pace()
    for second in range(60):
        slow = pace.step(second, 1000, "rows", float(second))
    assert slow is not None
    assert slow["rate"] == 1.0
    for second in range(60, 75):
        fast = pace.step(59 + (second - 59) * 10, 1000, "rows", float(second))
    assert fast is not None
    assert fast["rate"] == 10.0
    again = pace.step(0, 5, "sheets", 80.0)
    assert again is not None
    assert (again["rate"], again["seconds_left"]) == (None, None)


@pytest.mark.parametrize("done", [-1, True, "5", None.__class__])
def test_progress_that_is_no_number_is_refused(done: object) -> None:
    with pytest.raises(PayloadError, match="is no number") as refused:
        checked_progress(done, None, "")  # type: ignore[arg-type]
    assert refused.value.code == "task.progress"


def test_a_checkpoint_is_json_of_bounded_size() -> None:
    assert checked_checkpoint({"next": 5}) == {"next": 5}
    for wrong in (object(), float("nan"), "x" * 70_000):
        with pytest.raises(PayloadError, match="the checkpoint") as refused:
            checked_checkpoint(wrong)
        assert refused.value.code == "task.checkpoint"


def test_code_that_takes_too_long_is_ended_by_an_error_that_says_so() -> None:
    with pytest.raises(TaskTimeoutError, match=r"longer than 0\.05 s"), time_limit(0.05):
        signal.pause()
    with time_limit(5):
        done = True
    assert done
    assert [kind.code for kind in (TaskError, TaskFailedError, TaskTimeoutError)] == [
        "task.error",
        "task.failed",
        "task.timeout",
    ]


def test_a_task_whose_kind_is_nowhere_is_tried_ever_less_often_but_every_minute() -> None:
    pauses = [pause_seconds(claims) for claims in (0, 1, 2, 3, 6, 7, 8, 10_000)]
    assert pauses == [1.0, 1.0, 2.0, 4.0, 32.0, 60.0, 60.0, 60.0]
