"""docs/reference/http.md tells of what is served, and of nothing else."""

import re
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from builtin_plugins.async_task import routes as task_routes
from builtin_plugins.workflow import routes as workflow_routes
from nocohost.node.settings import HttpSettings
from nocohost.web.application import api_operations
from nocohost.web.deadlines import Deadlines
from nocohost.web.jobs_api import NewJob
from nocohost.web.openapi import PATH
from nocohost.web.problems import HTTP_CODES, STATUSES
from nocohost.web.server import CONNECTIONS_PER_ADDRESS

ROOT = Path(__file__).resolve().parent.parent.parent.parent
TASKS, WORKFLOWS = "/api/v1/task", "/api/v1/(?:workflow|execution|step-type)"
PAGE = (ROOT / "docs" / "reference" / "http.md").read_text(encoding="utf-8")


def test_every_operation_is_documented_with_its_permission():
    rows = set(re.findall(r"^\| `(\w+) (/api/\S+)` \| `([\w.]+)` \|", PAGE, flags=re.MULTILINE))
    documented = {row for row in rows if not re.match(f"{TASKS}|{WORKFLOWS}", row[1])}
    served = {(one.method, one.path, one.permission) for one in api_operations()}
    assert documented == served | {("GET", PATH, "api.read")}


@pytest.mark.parametrize(("nouns", "routes"), [(TASKS, task_routes), (WORKFLOWS, workflow_routes)])
def test_every_operation_of_a_guest_is_documented_with_its_permission(nouns, routes):
    rows = re.findall(rf"^\| `(\w+) ({nouns}[^`\s]*)`[^|]*\| `([\w.]+)`", PAGE, flags=re.MULTILINE)
    documented = [(method, path) for method, short, _ in rows for path in written_out(short)]
    offered = [one for one in routes.serve_requests(MagicMock()) if one.path.startswith("/api/")]
    assert sorted(documented) == sorted((one.method, one.path) for one in offered)
    assert {one.permission for one in offered} <= {permission for _, _, permission in rows}


def written_out(path):
    """``/tasks[/{id}]`` stands for both, with and without."""
    first, bracket, rest = path.partition("[")
    return [first, first + rest.removesuffix("]")] if bracket else [first]


def test_every_member_of_a_new_job_is_documented():
    for member in NewJob.model_fields:
        assert f"| `{member}` |" in PAGE


def test_every_status_that_the_web_gives_is_documented():
    documented = {
        int(status) for row in re.findall(r"^\| ([\d, ]+) \|", PAGE, re.MULTILINE) for status in row.split(",")
    }
    raised_by_plugins = {411, 429}
    assert documented == {*HTTP_CODES, *(status for _, status in STATUSES)} - raised_by_plugins


def test_the_limits_are_the_defaults():
    deadlines, settings = Deadlines(), HttpSettings()
    assert (settings.header_seconds, settings.body_seconds, settings.idle_seconds) == (
        deadlines.header_seconds,
        deadlines.body_seconds,
        deadlines.idle_seconds,
    )
    for text in (
        "| 10 s |",
        "| 30 s, and one more for each 1,000 bytes",
        "| 75 s |",
        f"| {CONNECTIONS_PER_ADDRESS:,} |",
    ):
        assert text in PAGE
