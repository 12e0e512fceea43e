"""``nocohost up``: a cluster of real processes, its Ctrl-C, and what happens when somebody dies."""

import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
from plugins.wheels import Wheel

SECONDS = 40


@pytest.fixture
def up(tmp_path):
    """Return ``up(*modes)``: the command in a process group of its own, as in a terminal; all killed at the end."""
    started = []

    def start(*modes, **settings):
        environ = {**os.environ, "NOCOHOST_DATA_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1", **settings}
        process = subprocess.Popen(
            [sys.executable, "-m", "nocohost", "up", *modes],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        for child in children(process):
            child.kill()
        process.kill()
        process.communicate()


def children(process):
    try:
        return psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return []


def until_ready(process):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("ready"):
            return "".join(lines)
    raise AssertionError("".join(lines))


def test_one_process_per_mode_one_banner_and_one_ctrl_c(up):
    process = up("!", "shop:invoice")
    banner = until_ready(process)
    assert re.search(r"^token +nch_", banner, re.MULTILINE)
    assert re.search(r"^requests +http://127", banner, re.MULTILINE)
    assert re.search(r"^try +curl .*nch_", banner, re.MULTILINE)
    assert "warning   no node would serve the service key async-task:process" in banner
    assert len(children(process)) == 2
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert rest.count("node.stopped") == 2
    assert "Traceback" not in banner + rest


def test_the_token_is_made_once_and_shown_once(up):
    first = up("!")
    assert "nch_" in until_ready(first)
    os.killpg(first.pid, signal.SIGTERM)
    first.communicate(timeout=SECONDS)
    assert "nch_" not in until_ready(up("!"))


def test_nodes_drain_when_the_command_that_started_them_is_killed(up):
    process = up("!", "shop:invoice")
    until_ready(process)
    nodes = children(process)
    process.kill()
    gone, alive = psutil.wait_procs(nodes, timeout=SECONDS)
    assert (len(gone), alive) == (2, [])


def test_a_node_that_is_killed_is_named_and_the_others_go_on(up):
    process = up("!", "shop:invoice")
    until_ready(process)
    (victim,) = [node for node in children(process) if node.environ()["WORKER_MODE"] == "shop:invoice"]
    victim.kill()
    for line in process.stdout:
        if "was killed by SIGKILL" in line:
            break
    assert line.startswith("shop-invoice-2")
    assert len([node for node in children(process) if node.status() != psutil.STATUS_ZOMBIE]) == 1
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 1


def test_a_second_ctrl_c_leaves_at_once_with_the_code_of_a_forced_end(up):
    # On a public address a drain begins with seconds of not being ready: time enough for a second Ctrl-C.
    process = up("!", NOCOHOST_DRAIN_READY_SECONDS="20")
    until_ready(process)
    os.killpg(process.pid, signal.SIGINT)
    for line in process.stdout:
        if "node.stopping" in line:
            break
    asked = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 128 + signal.SIGINT
    assert time.monotonic() - asked < 18


def test_a_node_that_can_serve_nothing_is_named_and_the_others_are_shown(up, install_wheels):
    wheel = Wheel(
        "acme-broken",
        {"acme_broken.py": "import nothing_of_that_name"},
        {"services": {"broken:sync": "acme_broken"}},
    )
    path = str(install_wheels([wheel]))
    started = time.monotonic()
    process = up("!", "broken:sync", PYTHONPATH=path)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("partly"):
            break
    banner = "".join(lines)
    assert time.monotonic() - started < SECONDS
    assert "partly    1 of 2 nodes are ready" in banner
    assert re.search(r"^node .*broken:sync'  is not ready", banner, re.MULTILINE)
    assert re.search(r"^requests +http://127", banner, re.MULTILINE)
    assert "nothing_of_that_name" in banner


@pytest.mark.parametrize(("modes", "said"), [(["shop:invoise"], "shop:invoice"), (["-"], "throwaway child")])
def test_a_mode_that_cannot_be_starts_nothing(up, tmp_path, modes, said):
    process = up(*modes)
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    assert said in out
    assert not list(tmp_path.iterdir())


def test_beyond_loopback_no_token_is_made_and_the_node_refuses(up):
    started = time.monotonic()
    process = up("!", NOCOHOST_HTTP__HOST="0.0.0.0")
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "nch_" not in out
    assert "no admin token exists" in out
    assert time.monotonic() - started < SECONDS
