"""The first five minutes of nocohost, in one command: ``python3 docs/first_order.py``.

Makes a virtual environment, installs the host, builds the wheel of the example plugin and installs it like any third
party's, and starts three nodes with ``nocohost up``: one answers requests, one runs workflows, one runs tasks and makes
invoices. An order arrives over HTTP and starts a workflow: its lines are added up, a server of this script is told of
it, all orders are exported by a task, somebody releases it, and it becomes an invoice. Needs Python 3.11, nothing else.
"""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "tests" / "plugins" / "acme_shop"
WORKFLOW = PLUGIN / "workflows" / "order-intake.yaml"
MODES = ("!", "workflow:process", "async-task:process,shop:invoice")
ORDER = {"customer": "Ada", "lines": [{"quantity": 2, "price": "50.00"}, {"quantity": 1, "price": "20.50"}]}


def main() -> None:
    """Run the story from an empty directory to an invoice."""
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that it ends its cluster, as with Ctrl-C
    folder = Path(arguments.folder).resolve()
    python = make_environment(folder / ".venv")
    install(python)
    with tempfile.TemporaryDirectory(prefix="nocohost-") as data, warehouse() as address:
        story = Story(python, Path(data))
        story.tell(address, keep=arguments.keep)


class Story:
    """A cluster whose data is in a folder, and what happens to it."""

    def __init__(self, python: Path, data: Path) -> None:
        self._nocohost = str(python.parent / "nocohost")
        self._data = data
        self._environment = os.environ | {
            "NOCOHOST_DATA_DIR": str(data),
            "NOCOHOST_PLUGINS__WORKFLOW__HTTP_ALLOW": '["127.0.0.1"]',  # workflows call no machine of their own network
            "PYTHONUNBUFFERED": "1",
        }

    def tell(self, address: str, *, keep: bool) -> None:
        """Start the cluster, take one order through it, and stop it."""
        say(shlex.join(["nocohost", "up", *MODES]))
        command = [self._nocohost, "up", *MODES]
        cluster = subprocess.Popen(command, cwd=self._data, env=self._environment, stdout=subprocess.PIPE, text=True)
        try:
            url, token = wait_for_banner(cluster)
            self._take(url, token, address)
            if keep:
                say("the cluster goes on; Ctrl-C stops it. In another terminal:")
                say(shlex.join([f"NOCOHOST_DATA_DIR={self._data}", self._nocohost, "nodes", "list"]))
                follow(cluster)
        finally:
            stop(cluster)

    def _take(self, url: str, token: str, address: str) -> None:
        """Take one order from its arrival to its invoice."""
        say(f"nocohost workflow import {WORKFLOW.relative_to(ROOT)} --enable")
        (stored,) = json.loads(self._verb("workflow", "import", str(WORKFLOW), "--enable", "--json"))
        say(f"POST {url}{stored['webhook']} {json.dumps(ORDER)}")
        told = call("POST", f"{url}{stored['webhook']}", token, {**ORDER, "warehouse": address})
        execution = f"{url}/api/v1/executions/{told['execution']}"
        say("the workflow runs until somebody releases the order")
        wait_for(execution, token, lambda shown: any(step["key"] == "released" for step in shown["steps"]))
        say(f"POST {execution}/signals/released")
        call("POST", f"{execution}/signals/released", token, {"value": "Bob"})
        shown = wait_for(execution, token, lambda shown: shown["finished_at"])
        print(self._verb("workflow", "show", told["execution"]), end="", flush=True)
        if shown["state"] != "succeeded":
            sys.exit(f"the workflow {shown['state']}: {shown['reason']}")
        self._sum_up(call("GET", f"{url}/shop/orders/{shown['output']['order']}/invoice", token), shown)

    def _sum_up(self, invoice: dict[str, str], shown: dict[str, Any]) -> None:
        say(f"order {invoice['order']} became invoice {invoice['invoice']}: {invoice['total']} {invoice['currency']},")
        nodes = sorted({step["node"] for step in shown["steps"]})
        say(f"taken by the node with WORKER_MODE='!', led by {', '.join(nodes)}, made by {invoice['node']}")

    def _verb(self, *words: str) -> str:
        """Run a verb beside the cluster, and return what it prints."""
        return subprocess.run(
            [self._nocohost, *words],
            cwd=self._data,
            env=self._environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout


@contextmanager
def warehouse() -> Iterator[str]:
    """Run a server of this process that workflows may tell of orders; give its address."""

    class Told(BaseHTTPRequestHandler):
        """Says what it is told."""

        def do_POST(self) -> None:
            """Answer one request."""
            body = self.rfile.read(int(self.headers["Content-Length"]))
            say(f"the warehouse is told: {body.decode()}, Idempotency-Key {self.headers['Idempotency-Key']}")
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Told) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default=ROOT, help="where .venv goes (default: this checkout)")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running until Ctrl-C")
    return parser.parse_args()


def make_environment(folder: Path) -> Path:
    """Make the virtual environment unless it is there, and return its Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", folder)
    return python


def install(python: Path) -> None:
    """Install the host from this checkout, and the plugin from a wheel built of it."""
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{ROOT}[postgres]")
    with tempfile.TemporaryDirectory() as wheels:
        run(python, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "-w", wheels, PLUGIN)
        (wheel,) = Path(wheels).glob("acme_shop-*.whl")
        run(
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--force-reinstall",
            wheel,
        )


def wait_for_banner(cluster: "subprocess.Popen[str]") -> tuple[str, str]:
    """Show what the cluster prints until it is ready; return its URL and the printed token."""
    assert cluster.stdout is not None
    url = token = ""
    for line in cluster.stdout:
        print(line, end="", flush=True)
        url = url or "".join(re.findall(r"requests\s+(http://\S+)", line))
        token = token or "".join(re.findall(r"\bnch_\w+", line))
        if line.startswith("ready"):
            return url, token
    sys.exit("the cluster ended before it was ready")


def wait_for(url: str, token: str, fits: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Ask until the answer fits."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if fits(shown := call("GET", url, token)):
            return shown
        time.sleep(0.1)
    sys.exit("not within a minute; what the nodes said is above")


def call(method: str, url: str, token: str, body: object = None) -> dict[str, Any]:
    """Send one request with the token, and return the JSON answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        result: dict[str, Any] = json.load(answer)
    return result


def follow(cluster: "subprocess.Popen[str]") -> None:
    """Show what the cluster prints until it ends or somebody presses Ctrl-C."""
    assert cluster.stdout is not None
    try:
        for line in cluster.stdout:
            print(line, end="", flush=True)
    except KeyboardInterrupt:
        print()


def stop(cluster: "subprocess.Popen[str]") -> None:
    """Ask the cluster to drain, and show what it says."""
    if cluster.poll() is None:
        cluster.send_signal(signal.SIGTERM)
        print(cluster.communicate(timeout=60)[0], end="")


def run(*command: object) -> None:
    """Show a command and run it; a failure ends the story."""
    shown = [str(part).replace(f"{ROOT}{os.sep}", "") for part in command]
    say(shlex.join(shown))
    subprocess.run([str(part) for part in command], check=True)


def say(text: str) -> None:
    """Print one line of the story."""
    print(f"» {text}", flush=True)


if __name__ == "__main__":
    main()
