"""The verbs that look at the database and mend it: ``db``, ``jobs`` and ``token``, on a SQLite file of their own."""

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from verb_fixtures import Call

from nocohost.api.errors import StoreUnavailableError
from nocohost.cli.main import execute


def enqueue(call: Call, **options: str) -> dict[str, Any]:
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    code, job = call("jobs", "enqueue", "shop:invoice", "--payload", '{"order": 1}', *flags)
    assert code == 0
    return job


def test_db_status_changes_nothing_and_upgrade_brings_every_schema_up(call: Call) -> None:
    code, before = call("db", "status")
    assert (code, {row["state"] for row in before}) == (3, {"behind"})
    assert call("db", "status") == (code, before)
    code, upgraded = call("db", "upgrade")
    assert (code, {row["state"] for row in upgraded}) == (0, {"current"})
    assert [row["plugin"] for row in upgraded] == ["nocohost", "async-task", "shop", "workflow"]
    assert call("db", "status") == (0, upgraded)


def test_a_job_nobody_serves_is_enqueued_with_a_warning_and_listed(call: Call) -> None:
    job = enqueue(call, priority="3", run_at="2030-01-31T12:00:00Z")
    assert [warning["code"] for warning in job["warnings"]] == ["key.unserved"]
    assert (job["state"], job["priority"], job["run_at"]) == ("pending", 3, "2030-01-31T12:00:00Z")
    assert [row["id"] for row in call("jobs", "list")[1]] == [job["id"]]
    assert call("jobs", "list", "--state", "dead") == (0, [])
    assert call("jobs", "list", "--key", "shop:other") == (0, [])


def test_the_same_idempotency_key_is_the_same_job(call: Call) -> None:
    first = enqueue(call, idempotency_key="order-1")
    assert enqueue(call, idempotency_key="order-1")["id"] == first["id"]
    arguments = ["--payload", '{"order": 2}', "--idempotency-key", "order-1"]
    code, refusal = call("jobs", "enqueue", "shop:invoice", *arguments)
    assert (code, refusal["error"]["code"]) == (1, "queue.conflict")


def test_an_idempotency_key_that_outlives_its_job_is_told_of(call: Call) -> None:
    arguments = ("jobs", "enqueue", "shop:invoice", "--payload", '{"order": 7}', "--idempotency-key", "order-7")
    _, job = call(*arguments)
    call("jobs", "drop", job["id"])
    code, told = call(*arguments)
    assert (code, told["id"], told["state"], set(told)) == (0, job["id"], None, set(job))
    assert [warning["code"] for warning in told["warnings"]] == ["job.gone"]


def test_pages_of_jobs_follow_each_other_newest_first(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    made = [enqueue(call)["id"] for _ in range(3)]
    assert execute(["jobs", "list", "--limit", "2", "--json"]) == 0
    printed = capsys.readouterr()
    cursor = printed.err.partition("more: --after ")[2].strip()
    page = [job["id"] for job in json.loads(printed.out)]
    rest = [job["id"] for job in call("jobs", "list", "--limit", "2", "--after", cursor)[1]]
    assert page + rest == made[::-1]


def test_a_job_is_cancelled_retried_and_dropped(call: Call) -> None:
    job = enqueue(call)["id"]
    assert call("jobs", "cancel", job)[1]["state"] == "cancelled"
    assert call("jobs", "show", job)[1]["finished_at"] is not None
    assert call("jobs", "retry", job)[1]["state"] == "pending"
    assert call("jobs", "drop", job)[1]["id"] == job
    code, refusal = call("jobs", "show", job)
    assert (code, refusal["error"]["code"]) == (1, "queue.job_not_found")


def test_a_job_that_waits_has_nothing_to_be_retried(call: Call) -> None:
    code, refusal = call("jobs", "retry", enqueue(call)["id"])
    assert (code, refusal["error"]["code"]) == (1, "queue.conflict")


@pytest.mark.parametrize("payload", ["[1]", '{"order": 0}', "{}"])
def test_a_payload_that_does_not_fit_is_refused_before_anything_is_written(call: Call, payload: str) -> None:
    code, refusal = call("jobs", "enqueue", "shop:invoice", "--payload", payload)
    assert (code, refusal["error"]["code"]) == (2, "queue.payload")
    assert call("jobs", "list") == (0, [])


@pytest.mark.parametrize(
    "arguments",
    [
        ("jobs", "enqueue", "shop:invoice", "--payload", "{"),
        ("jobs", "enqueue", "shop:invoice", "--run-at", "2030-01-31T12:00:00"),
        ("jobs", "enqueue", "shop:invoice", "--payload", "[" * 50_000),
        ("jobs", "enqueue", "shop:invoice", "--payload", '{"order": 1, "order": 2}'),
        ("jobs", "enqueue", "shop:invoice", "--run-at", "9999-12-31T23:59:59-14:00"),
        ("jobs", "list", "--key", "\udcff"),
        ("jobs", "list", "--state", "lost"),
        ("token", "create", "ada", "--scope", "Shop"),
        ("token", "create", "ada", "--expires", "soon"),
    ],
)
def test_what_cannot_be_read_is_a_usage_error(call: Call, arguments: tuple[str, ...]) -> None:
    code, refusal = call(*arguments)
    assert (code, refusal["error"]["code"]) == (2, "cli.usage")


def test_an_unknown_key_is_refused_with_a_suggestion(call: Call) -> None:
    code, refusal = call("jobs", "enqueue", "shop:invoise")
    assert (code, refusal["error"]["code"]) == (2, "queue.unknown_key")
    assert "shop:invoice" in refusal["error"]["hint"]


def test_a_token_is_shown_once_listed_without_its_secret_and_revoked(
    call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    code, made = call("token", "create", "ada", "--scope", "operate", "--scope", "shop.*", "--expires", "2h")
    assert code == 0
    assert made["token"].startswith(f"nch_{made['id']}_")
    assert made["scopes"] == ["operate", "shop.*"]
    _, listed = call("token", "list")
    assert [(row["id"], row["revoked_at"]) for row in listed] == [(made["id"], None)]
    assert made["token"] not in json.dumps(listed)
    assert execute(["token", "revoke", "ada"]) == 0
    assert call("token", "list")[1][0]["revoked_at"] is not None
    assert execute(["token", "revoke", "ada"]) == 1
    assert "no live token 'ada'" in capsys.readouterr().err
    assert execute(["token", "revoke", "\udcff"]) == 1


def test_db_upgrade_fails_on_a_schema_that_a_later_version_keeps_for_itself(call: Call, tmp_path: Path) -> None:
    assert call("db", "upgrade")[0] == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "nocohost.sqlite", isolation_level=None)) as later:
        later.execute("UPDATE nocohost_alembic SET version_num = '9999'")
        later.execute("UPDATE nocohost_migrations SET version = '9.0', runnable_from = '8.0' WHERE plugin = 'nocohost'")
    code, rows = call("db", "upgrade")
    assert (code, rows[0]["state"], rows[0]["migrated_by"]) == (1, "too_new", "9.0")
    assert "install a newer version" in rows[0]["reason"]


def test_nodes_and_queues_are_listed_and_a_key_is_paused_drained_and_resumed(call: Call) -> None:
    job = enqueue(call)
    assert call("nodes", "list") == (0, [])
    code, queues = call("queue", "list")
    assert (code, [queue["key"] for queue in queues]) == (0, ["async-task:process", "shop:invoice", "workflow:process"])
    assert (queues[1]["state"], queues[1]["due"]) == ("unserved", 1)
    code, paused = call("queue", "pause", "shop:invoice")
    assert (code, paused["state"]) == (0, "paused")
    code, told = call("jobs", "explain", job["id"])
    assert [reason["code"] for reason in told["reasons"]] == ["unserved", "paused"]
    code, drained = call("queue", "drain", "shop:invoice", "--within", "1s")
    assert (code, drained["ended"], drained["released"]) == (0, 0, 0)
    assert call("queue", "resume", "shop:invoice")[1]["paused_at"] is None
    code, refusal = call("queue", "pause", "shop:invoise")
    assert (code, refusal["error"]["code"]) == (2, "queue.unknown_key")


@pytest.mark.parametrize(
    "order", [("nodes", "quiet", "nobody"), ("nodes", "resume", "nobody"), ("nodes", "stop", "nobody")]
)
def test_orders_to_a_node_that_is_not_there_are_refused(call: Call, order: tuple[str, ...]) -> None:
    code, refusal = call(*order)
    assert (code, refusal["error"]["code"]) == (1, "node.not_found")


def test_the_doctor_changes_nothing_and_exits_with_3_for_a_problem(
    call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        code, told = call("doctor")
        assert (code, told["problems"]) == (3, 4)  # the schemas of nocohost, of tasks, of the shop and of workflows
        assert {one["check"] for one in told["findings"] if one["level"] == "problem"} == {"schema"}
    enqueue(call)
    assert execute(["doctor"]) == 3
    printed = capsys.readouterr().out
    assert "problem  unserved      1 jobs of shop:invoice are due and no live node serves it" in printed
    assert printed.endswith("1 problems, 0 warnings\n")


def test_the_doctor_says_what_is_wrong_with_a_mode_that_would_not_start(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_MODE", "shop:invoic")
    code, told = call("doctor")
    (finding,) = [one for one in told["findings"] if one["check"] == "plugins"]
    assert (code, finding["level"]) == (3, "problem")
    assert "'shop:invoic' at position 1" in finding["message"]
    assert "'shop:invoice'" in finding["hint"]


def test_a_job_that_is_stored_is_told_though_it_cannot_be_read_back(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was told of a failure would make it once more."""

    async def away(connection: Any, job_id: str) -> Any:
        raise StoreUnavailableError("the database went away")

    with monkeypatch.context() as patch:
        patch.setattr("nocohost.store.jobs.get_job", away)
        job = enqueue(call)
    assert (job["key"], job["state"], job["warnings"][-1]["code"]) == ("shop:invoice", None, "job.unseen")
    assert call("jobs", "show", job["id"])[1]["state"] == "pending"
