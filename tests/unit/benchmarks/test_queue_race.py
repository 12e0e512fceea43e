"""What the queue benchmark makes of what it measured; that the measuring itself works is an acceptance test."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "benchmarks"))

from queue_race import report, throughput
from queue_race.contestants import CONTESTANTS
from queue_race.figures import Reading, collect, median_of
from queue_race.inside.contestant import records
from queue_race.inside.contestant.records import Record
from queue_race.scale import FULL
from queue_race.targets import judge

SECOND = 1_000_000_000


def starts(process: int, *seconds: float) -> list[Record]:
    return [Record(number + process * 1000, process, int(second * SECOND), 0) for number, second in enumerate(seconds)]


def figures_of(**numbers: dict[str, float]) -> dict:
    figures: dict = {}
    for who, mine in numbers.items():
        readings = [Reading(name.replace("_", " "), "jobs/s", value) for name, value in mine.items()]
        collect(figures, who, readings)
    return figures


def test_a_pace_counts_what_ran_after_the_last_process_began_until_the_last_committed_end():
    found = sorted(starts(1, 0.0, 0.5, 1.0, 1.5, 2.0) + starts(2, 0.5, 1.0, 1.5, 2.5), key=lambda record: record.at)
    pace = throughput._pace(found, 9, 2, int(3.5 * SECOND))
    assert pace.acknowledged == pytest.approx(6 / 3.0)
    assert pace.run == pytest.approx(6 / 2.0)
    assert pace.note == ""


def test_a_pace_is_spoilt_when_one_process_did_it_all_or_began_too_late():
    alone = throughput._pace(starts(1, 0.0, 1.0, 2.0, 3.0), 4, 2, 4 * SECOND)
    assert alone.note == throughput.SPOILT
    assert alone.acknowledged == pytest.approx(3 / 4.0)
    late = throughput._pace(starts(1, 0.0, 1.0, 2.0, 3.0) + starts(2, 3.5), 5, 2, 4 * SECOND)
    assert late.note == throughput.SPOILT


def test_a_pace_tells_of_jobs_that_ran_twice():
    found = sorted([*starts(1, 0.0, 1.0, 2.0), Record(1000, 1, 3 * SECOND, 0)], key=lambda record: record.at)
    assert throughput._pace(found, 3, 1, 4 * SECOND).note == "4 runs of 3 jobs"


def test_a_scale_gives_as_many_jobs_as_the_pace_does_in_its_seconds_within_bounds():
    assert FULL.jobs(10_000) == 25_000
    assert FULL.jobs(1) == FULL.probe_jobs
    assert FULL.jobs(1e9) == FULL.most_jobs


def test_figures_are_medians_and_keep_why_there_is_none():
    figures: dict = {}
    for value in (3.0, 1.0, 2.0):
        collect(figures, "raw", [Reading("drain 1", "jobs/s", value)])
    collect(figures, "raw", [Reading("enqueue many", "jobs/s", None, "not yet")])
    collect(figures, "raw", [Reading("enqueue many", "jobs/s", None, "not yet")])
    assert median_of(figures, "raw", "drain 1") == 2.0
    assert median_of(figures, "raw", "enqueue many") is None
    assert figures["raw"]["enqueue many"].note == "not yet"


def test_targets_are_ratios_within_the_run_and_bounds():
    figures = figures_of(
        nocohost={"drain_1": 1500.0, "enqueue_one": 10.0, "enqueue_100": 70.0, "start": 0.9},
        pgqueuer={"drain_1": 1000.0},
    )
    told = {(one.target.figure, one.target.beside): (one.value, one.holds) for one in judge(figures)}
    assert told == {
        ("drain 1", ("pgqueuer", "drain 1")): (1.5, True),
        ("enqueue 100", ("", "enqueue one")): (7.0, False),
        ("start", None): (0.9, True),
    }


def test_a_target_whose_number_is_missing_neither_holds_nor_fails():
    figures = figures_of(pgqueuer={"enqueue_many": 5.0})
    collect(figures, "nocohost", [Reading("enqueue many", "jobs/s", None, "not yet")])
    (verdict,) = judge(figures)
    assert verdict.holds is None


def test_tables_show_every_number_every_reason_and_who_is_missing(tmp_path):
    figures = figures_of(nocohost={"drain_1": 12345.0}, raw={"drain_1": 0.5, "enqueue_one": 42.0})
    collect(figures, "raw", [Reading("drain 1", "jobs/s", 1.5, "spoilt")])
    lines = report.figures_table(figures, {"celery": "no Redis\nhere"}).splitlines()
    assert lines[0] == "| | nocohost | raw |"
    assert "| drain 1, jobs/s | 12,345 | 1.00 (0.50 to 1.50) |" in lines
    assert "| enqueue one, jobs/s |  | 42.0 |" in lines
    assert "- raw, drain 1: spoilt" in lines
    assert "- celery is missing: no Redis" in lines
    verdicts = judge(figures)
    assert "| nocohost | drain, one node, of the raw yardstick's | at least 0.5 | 12,345 | yes |" in (
        report.targets_table(verdicts)
    )
    report.write_json(tmp_path / "told.json", {"scale": "quick"}, figures, verdicts)
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["figures"]["raw"]["drain 1"] == {"unit": "jobs/s", "median": 1.0, "runs": [0.5, 1.5], "note": "spoilt"}
    assert told["targets"][0]["holds"] is True


def test_a_page_gets_the_text_between_its_marks_and_keeps_the_rest(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.FROM}\nold\n{report.TO}\nafter\n")
    report.fill(page, "new")
    report.fill(page, "newer")
    assert page.read_text() == f"before\n{report.FROM}\n\nnewer\n\n{report.TO}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="has no <!-- results -->"):
        report.fill(page, "new")
    assert page.read_text() == "no marks"


async def test_a_record_is_read_as_it_was_written_and_half_a_one_is_not(tmp_path, monkeypatch):
    file = tmp_path / "records"
    monkeypatch.setenv(records.FILE, str(file))
    await records.run({"number": 7, "at": 11, "seconds": 0.001})
    file.write_bytes(file.read_bytes() + b"half")
    begun, ended = records.read(str(file))
    assert (begun.number, begun.enqueued_at, ended.number) == (7, 11, -8)
    assert ended.at > begun.at
    assert records.count(str(file)) == 2


def test_contestants_have_a_driver_and_names_of_their_own():
    drivers = Path(records.__file__).parent / "drivers"
    assert all((drivers / f"{one.driver}.py").is_file() for one in CONTESTANTS)
    assert len({one.name for one in CONTESTANTS}) == len(CONTESTANTS)
