"""A node as a process: how it starts, what it says, how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

NODE = [sys.executable, "-m", "nocohost"]
SECONDS = 30


@pytest.fixture
def start(tmp_path):
    """Return ``start(mode, **settings)``: a node process on a database of the test; killed at the end."""
    started = []

    def start_node(mode, *arguments, **settings):
        environ = {
            **os.environ,
            "WORKER_MODE": mode,
            "NOCOHOST_DATA_DIR": str(tmp_path / "data"),
            "NOCOHOST_LOG__FORMAT": "json",
            "NOCOHOST_ADMIN__PORT": "0",
            "NOCOHOST_HTTP__PORT": "0",
            "PYTHONUNBUFFERED": "1",
            **settings,
        }
        process = subprocess.Popen(
            [*NODE, "run", *arguments], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start_node
    for process in started:
        process.kill()
        process.communicate()


def event(process, name):
    """Read the log until the event ``name``, and return it."""
    for line in process.stdout:
        entry = json.loads(line)
        if entry["event"] == name:
            return entry
    raise AssertionError(f"the node ended without {name}: {process.stderr.read()}")


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_node_without_a_mode_serves_everything_and_drains_on_term(start):
    process = start("")
    serving = event(process, "node.serving")
    assert serving["serves"] == ["requests", "async-task:process", "shop:invoice", "workflow:process"]
    assert get(f"http://{serving['admin']}/readyz") == (200, {"status": "ok"})
    assert get(f"{serving['requests']}/readyz")[0] == 200
    process.send_signal(signal.SIGTERM)
    assert event(process, "node.stopping")["node"] == serving["node"]
    assert event(process, "node.stopped")["node"] == serving["node"]
    assert process.wait(SECONDS) == 0


def test_a_background_node_opens_the_admin_port_alone(start):
    process = start("shop:invoice", "--port", str(free := free_port()))
    serving = event(process, "node.serving")
    assert serving["serves"] == ["shop:invoice"]
    assert serving["requests"] is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free), timeout=5)
    assert get(f"http://{serving['admin']}/livez")[0] == 200


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_misspelt_key_exits_2_and_names_the_nearest(start):
    process = start("shop:invoise")
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    assert "shop:invoice" in err
    assert "Traceback" not in out + err


def test_a_child_without_a_work_order_opens_nothing_and_leaves_on_term(start, tmp_path):
    process = start("-")
    event(process, "child.waiting")
    assert not (tmp_path / "data").exists()
    sockets = [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")]
    listening = subprocess.run(["cat", f"/proc/{process.pid}/net/tcp"], capture_output=True, text=True).stdout
    inodes = {line.split()[9] for line in listening.splitlines()[1:]}
    assert not {f"socket:[{inode}]" for inode in inodes} & set(sockets)
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 0


def test_a_taken_port_exits_69_and_names_the_holder(start):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        process = start("!", "--port", str(holder.getsockname()[1]))
        failed = event(process, "node.failed")
    assert process.wait(SECONDS) == 69
    assert failed["code"] == "http.address_in_use"
    assert f"pid {os.getpid()}" in failed["reason"]


def test_a_database_that_does_not_answer_exits_69(start):
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    process = start("*", NOCOHOST_DATABASE__URL=url, NOCOHOST_DATABASE__WAIT_SECONDS="1")
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 69
    assert "Traceback" not in out + err


def test_a_public_address_without_an_admin_token_is_refused(start):
    process = start("!", "--host", "0.0.0.0")
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    assert "nocohost token create" in err


def test_while_the_database_is_away_the_node_lives_but_is_not_ready(start):
    admin = free_port()
    process = start(
        "*",
        "--admin-port",
        str(admin),
        NOCOHOST_DATABASE__URL=f"postgresql://nobody@127.0.0.1:{free_port()}/nothing",
    )
    event(process, "database.away")
    assert get(f"http://127.0.0.1:{admin}/livez")[0] == 200
    status, report = get(f"http://127.0.0.1:{admin}/readyz?verbose=1")
    assert status == 503
    assert "waiting for postgresql://" in json.dumps(report)
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 0


def test_a_second_signal_leaves_at_once(start, slow_plugin):
    process = start("slow:work", PYTHONPATH=slow_plugin)
    event(process, "node.serving")
    enqueue("slow:work", process, slow_plugin)
    event(process, "slow.started")
    process.send_signal(signal.SIGTERM)
    event(process, "node.stopping")
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 143


def test_a_job_that_does_not_end_is_handed_back_at_the_deadline(start, slow_plugin, tmp_path):
    process = start("slow:work", PYTHONPATH=slow_plugin, NOCOHOST_DRAIN_SECONDS="1")
    event(process, "node.serving")
    job = enqueue("slow:work", process, slow_plugin)
    event(process, "slow.started")
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 0
    assert time.monotonic() - asked < 20, "it did not take the usual 25 s"
    row = verb(tmp_path, slow_plugin, "jobs", "show", job, "--json")
    assert (row["state"], row["attempts"]) == ("pending", 0)


@pytest.fixture(scope="session")
def slow_plugin(install_wheels):
    from plugins.wheels import Wheel

    source = """
import asyncio
from nocohost import Service, hookimpl

async def work(job, app):
    app.log.info("slow.started", job=job.id)
    await asyncio.sleep(3600)

@hookimpl
def register_services(app):
    return [Service("slow:work", work)]
"""
    wheel = Wheel("acme-slow", {"acme_slow.py": source}, {"services": {"slow:work": "acme_slow"}})
    return str(install_wheels([wheel]))


def enqueue(key, process, path):
    data = Path(f"/proc/{process.pid}/environ").read_text().split("\0")
    folder = next(item.partition("=")[2] for item in data if item.startswith("NOCOHOST_DATA_DIR="))
    return verb(os.path.dirname(folder), path, "jobs", "enqueue", key, "--payload", "{}", "--json")["id"]


def verb(folder, path, *arguments):
    environ = {**os.environ, "NOCOHOST_DATA_DIR": f"{folder}/data", "PYTHONPATH": str(path)}
    done = subprocess.run([*NODE, *arguments], env=environ, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_required_service_that_fails_to_load_exits_70_and_is_named(start, install_wheels):
    from plugins.wheels import Wheel

    declarations = """
        from nocohost import JobType, hookimpl

        @hookimpl
        def register_jobs():
            return [JobType("vital:work", required=True)]
    """
    wheel = Wheel(
        "acme-vital",
        {"acme_vital_jobs.py": declarations, "acme_vital.py": "raise RuntimeError('broken')"},
        {"declarations": {"vital": "acme_vital_jobs"}, "services": {"vital:work": "acme_vital"}},
    )
    path = str(install_wheels([wheel]))
    process = start("vital:work", PYTHONPATH=path)
    failed = event(process, "node.failed")
    assert process.wait(SECONDS) == 70
    assert failed["code"] == "plugin.required"
    assert "vital:work" in failed["reason"]
    # A node that does not serve it does not need it.
    assert event(start("!", PYTHONPATH=path), "node.serving")


def test_a_plugin_whose_migrations_cannot_be_read_is_quarantined_and_its_neighbour_served(start, install_wheels):
    from plugins.wheels import Wheel

    service = """
        from nocohost import Service, hookimpl

        async def work(job):
            return None

        @hookimpl
        def register_services(app):
            return [Service("unread:work", work)]
    """
    wheel = Wheel(
        "acme-unread",
        {"acme_unread.py": service, "acme_unread_migrations/__init__.py": ""},
        {"services": {"unread:work": "acme_unread"}, "migrations": {"acme-unread": "acme_unread_migrations"}},
    )
    process = start("unread:work,shop:invoice", PYTHONPATH=str(install_wheels([wheel])))
    quarantined = event(process, "plugin.quarantined")
    assert "RUNNABLE_FROM" in quarantined["reason"]
    assert event(process, "node.serving")["serves"] == ["shop:invoice"]


def test_a_node_that_can_serve_nothing_warns_instead_of_saying_that_it_serves(start, install_wheels):
    from plugins.wheels import Wheel

    wheel = Wheel("acme-broken", {"acme_broken.py": "import no_such"}, {"services": {"broken:sync": "acme_broken"}})
    process = start("broken:sync", PYTHONPATH=str(install_wheels([wheel])))
    told = event(process, "node.serves_nothing")
    assert (told["level"], told["serves"], told["mode"]) == ("warning", [], "broken:sync")
    assert get(f"http://{told['admin']}/readyz")[0] == 503


STUBBORN = """
import asyncio
import contextlib
import time

from nocohost import Service, hookimpl


async def work(job): ...


@hookimpl
def register_services(app):
    return [Service("{key}", work)]


@hookimpl
@contextlib.asynccontextmanager
async def node_lifespan(app):
    {body}
    yield
"""
THREAD = 'app.log.info("stubborn.begun"); held = asyncio.create_task(asyncio.to_thread(time.sleep, 3600))'
EXITS = """
    async def leave(): await app.clock.sleep(1); raise {error}
    held = asyncio.create_task(leave())
"""
BLOCKED = 'app.log.info("stubborn.begun"); time.sleep(3600)'


@pytest.fixture(scope="session")
def stubborn(install_wheels):
    from plugins.wheels import Wheel

    sources = {"thread": STUBBORN.format(key="stubborn:thread", body=THREAD)}
    sources["exits"] = STUBBORN.format(key="stubborn:exits", body=EXITS.format(error="SystemExit(9)"))
    sources["interrupts"] = STUBBORN.format(
        key="stubborn:interrupts", body=EXITS.format(error="KeyboardInterrupt('by itself')")
    )
    sources["blocked"] = STUBBORN.format(key="stubborn:blocked", body=BLOCKED)
    files = {f"stubborn_{name}.py": source for name, source in sources.items()}
    entries = {f"stubborn:{name}": f"stubborn_{name}" for name in sources}
    return str(install_wheels([Wheel("stubborn", files, {"services": entries})]))


def test_a_thread_that_does_not_return_does_not_keep_a_drained_node(start, stubborn):
    process = start("stubborn:thread", PYTHONPATH=stubborn)
    event(process, "node.serving")
    process.send_signal(signal.SIGTERM)
    assert event(process, "node.leaving")["exit"] == 0
    assert process.wait(30) == 0


def test_a_lifespan_that_blocks_the_event_loop_does_not_keep_a_second_signal(start, stubborn):
    process = start("stubborn:blocked", PYTHONPATH=stubborn)
    event(process, "stubborn.begun")
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 130


@pytest.mark.parametrize(("deed", "said"), [("exits", "SystemExit: 9"), ("interrupts", "KeyboardInterrupt: by itself")])
def test_a_task_of_a_plugin_that_exits_ends_the_node_with_70_after_its_drain(start, stubborn, deed, said):
    process = start(f"stubborn:{deed}", PYTHONPATH=stubborn)
    event(process, "node.stopped")
    assert said in event(process, "node.failed")["reason"]
    assert process.wait(SECONDS) == 70
