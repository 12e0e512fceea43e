"""``nocohost task ...`` on a database, while nobody and while somebody runs tasks."""

import asyncio
import json
import os
import pty
import signal
import sqlite3
import sys
import time
from contextlib import closing

import pytest

pytestmark = pytest.mark.timeout(180)


async def begun(folder, *arguments, stderr=asyncio.subprocess.PIPE, **environ):
    environ |= {"NOCOHOST_DATA_DIR": str(folder), "PATH": os.defpath, "NOCOHOST_LOG__LEVEL": "error"}
    command = (sys.executable, "-m", "nocohost", *arguments)
    return await asyncio.create_subprocess_exec(*command, env=environ, stdout=asyncio.subprocess.PIPE, stderr=stderr)


async def run(folder, *arguments, code=0):
    process = await begun(folder, *arguments)
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
        (("task", "export", "shop.orders", "--output", "no-such-folder/orders.csv"), 2, "no-such-folder"),
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


def customers(folder, *rows):
    file = folder / "customers.csv"
    file.write_text("id,Name,Credit\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return str(file)


async def test_the_file_of_a_task_that_is_refused_is_not_kept(tmp_path):
    file = customers(tmp_path, "1,Ada,2")
    await run(tmp_path, "task", "import", "shop.nothing", file, code=2)
    await run(tmp_path, "task", "start", "no-such-kind", "--file", file, code=1)
    await run(tmp_path, "task", "import", "shop.customers", file, "--title", "two\nlines", code=2)
    await run(tmp_path, "task", "import", "shop.customers", file)
    with closing(sqlite3.connect(tmp_path / "nocohost.sqlite")) as database:
        expiring = database.execute("SELECT expires_at FROM nocohost_files ORDER BY id").fetchall()
    now = time.time() * 1_000_000
    assert [at is not None and at <= now for (at,) in expiring] == [True, True, True, False]


async def test_who_stops_watching_is_told_that_the_task_goes_on(tmp_path):
    process = await begun(tmp_path, "task", "start", "shop-report", "--watch")
    assert (await process.stderr.readline()).startswith(b"pending")
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 130
    (listed,) = json.loads((await run(tmp_path, "task", "list", "--json"))[0])
    assert listed["state"] == "pending"
    assert f"nocohost task watch {listed['id']}" in err.decode()
    assert "Traceback" not in err.decode()


async def test_the_row_errors_of_an_import_are_told_of_and_downloaded(cluster, tmp_path):
    async with cluster("async-task:process"):
        bring = ("task", "import", "shop.customers", customers(tmp_path, "1,Ada,1.5", "2,=Eve,much"))
        out, _ = await run(tmp_path, *bring, "--watch", code=1)
        (failed,) = json.loads((await run(tmp_path, "task", "list", "--json"))[0])
        assert f"row errors: 1; nocohost task download {failed['id']} --errors" in out
        found = tmp_path / "errors.csv"
        await run(tmp_path, "task", "download", failed["id"], "--errors", "--output", str(found))
        assert found.read_text(encoding="utf-8").splitlines()[0] == "row,field,value,reason"
        assert found.read_text(encoding="utf-8").splitlines()[1].startswith("3,credit,much,")
        out, _ = await run(tmp_path, *bring, "--watch", "--param", "on_error=skip")
        assert '  result: {"created": 1, ' in out
        whole = json.loads(
            (await run(tmp_path, "task", "import", *bring[2:3], customers(tmp_path, "7,Bo,1"), "--json"))[0]
        )
        await run(tmp_path, "task", "watch", whole["id"])
        _, err = await run(tmp_path, "task", "download", whole["id"], "--errors", code=1)
        assert "has no row errors" in err


async def test_a_file_that_is_refused_is_told_of_with_what_to_do_about_it(cluster, tmp_path):
    file = tmp_path / "customers.csv"
    file.write_bytes("Name\nZoë\n".encode("windows-1252"))
    async with cluster("async-task:process"):
        out, _ = await run(tmp_path, "task", "import", "shop.customers", str(file), "--watch", code=1)
        assert "error: the file is not utf-8" in out
        assert "encoding=windows-1252" in out, "the hint"


async def test_an_export_is_watched_with_a_bar_on_a_terminal_and_written_here(cluster, tmp_path):
    names = [f"Customer {number}" for number in range(1, 2001)]
    async with cluster("async-task:process"):
        file = customers(tmp_path, *(f"{number},{name},{number}.25" for number, name in enumerate(names, 1)))
        await run(tmp_path, "task", "import", "shop.customers", file, "--watch")
        master, slave = pty.openpty()
        taken = tmp_path / "taken.csv"
        arguments = ("--fields", "name,credit", "--sort", "-id", "--watch", "--output", str(taken))
        process = await begun(tmp_path, "task", "export", "shop.customers", *arguments, stderr=slave, TERM="xterm")
        os.close(slave)
        shown, (out, _) = await asyncio.gather(asyncio.to_thread(all_of, master), process.communicate())
        assert process.returncode == 0, out.decode()
    assert "succeeded" in shown
    assert "2,000 of 2,000 rows" in shown
    assert "\u2501" in shown, "a bar"
    assert "shop.customers-" in out.decode(), "the name of the file"
    lines = taken.read_text(encoding="utf-8").splitlines()
    assert lines == ["Name,Credit", *(f"{name},{number}.25" for number, name in reversed(list(enumerate(names, 1))))]


def all_of(terminal):
    """Return what is written to a terminal until nobody has it open any more."""
    parts = []
    try:
        while part := os.read(terminal, 65536):
            parts.append(part)
    except OSError:  # how Linux says that it is over
        pass
    finally:
        os.close(terminal)
    return b"".join(parts).decode()
