"""``nocohost task ...`` on a database, while nobody and while somebody runs tasks."""

import asyncio
import json
import os
import sys

import pytest

pytestmark = pytest.mark.timeout(180)


async def run(folder, *arguments, code=0):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "nocohost",
        *arguments,
        env={"NOCOHOST_DATA_DIR": str(folder), "PATH": os.defpath, "NOCOHOST_LOG__LEVEL": "error"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == code, (out.decode(), err.decode())
    return out.decode(), err.decode()


async def test_a_task_is_started_listed_cancelled_and_retried_while_nobody_runs_it(tmp_path):
    out, _ = await run(
        tmp_path, "task", "start", "shop-report", "--param", "customer=Ada", "--title", "Ada's", "--owner", "ada"
    )
    assert "pending    shop-report  Ada's" in out
    assert "no live node serves async-task:process" in out
    (listed,) = json.loads((await run(tmp_path, "task", "list", "--owner", "ada", "--json"))[0])
    assert (listed["state"], listed["owner"], listed["title"]) == ("pending", "ada", "Ada's")
    assert json.loads((await run(tmp_path, "task", "show", listed["id"], "--json"))[0])["id"] == listed["id"]
    assert json.loads((await run(tmp_path, "task", "cancel", listed["id"], "--json"))[0])["state"] == "cancelled"
    assert json.loads((await run(tmp_path, "task", "retry", listed["id"], "--json"))[0])["state"] == "pending"
    assert "cancelled" in (await run(tmp_path, "task", "cancel", listed["id"]))[0]
    _, err = await run(tmp_path, "task", "watch", listed["id"], code=1)
    assert "cancelled" in err
    _, err = await run(tmp_path, "task", "download", listed["id"], code=1)
    assert "has made no file" in err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("task", "start", "shop-reprot"), 1, "did you mean 'shop-report'?"),
        (("task", "start", "shop-report", "--param", "customer"), 2, "write NAME=VALUE"),
        (("task", "start", "shop-report", "--param", "other=1"), 2, "other"),
        (("task", "show", "00000000-0000-7000-8000-000000000000"), 1, "there is no task"),
        (("task", "export", "shop.nothing"), 2, "shop.nothing"),
        (("task", "import", "shop.orders", "no-such-file.csv"), 2, "does not exist"),
    ],
)
async def test_what_cannot_be_is_refused_in_one_line(tmp_path, arguments, code, said):
    out, err = await run(tmp_path, *arguments, code=code)
    assert said in err
    assert "Traceback" not in err + out


async def test_a_watched_task_ends_the_command_with_its_result(cluster, tmp_path):
    async with cluster("async-task:process"):
        out, err = await run(tmp_path, "task", "start", "shop-report", "--watch", "--json")
        shown = json.loads(out)
        assert (shown["state"], shown["result"]["value"]) == ("succeeded", {})
        assert err.splitlines()[0].startswith(("pending", "running"))
        assert err.splitlines()[-1].startswith("succeeded")
        _, err = await run(tmp_path, "task", "start", "shop-report", "--param", "customer=Nobody", "--watch", code=1)
        assert err.splitlines()[-1].startswith("failed")
