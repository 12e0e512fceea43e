"""The first five minutes of nocohost, in one command: ``python3 docs/first_order.py``.

Makes a virtual environment, installs the host, builds the wheel of the example plugin and installs it like any third
party's, starts two nodes with ``nocohost up '!' 'shop:invoice'``, posts one order to the node that serves requests, and
shows the invoice that the other process made. Needs Python 3.11 and nothing else.
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
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "tests" / "plugins" / "acme_shop"
MODES = ("!", "shop:invoice")


def main() -> None:
    """Run the story from an empty directory to an invoice."""
    arguments = parse_arguments()
    folder = Path(arguments.folder).resolve()
    python = make_environment(folder / ".venv")
    install(python)
    with tempfile.TemporaryDirectory(prefix="nocohost-") as data:
        tell(start(python, Path(data)), keep=arguments.keep)


def tell(cluster: "subprocess.Popen[str]", *, keep: bool) -> None:
    """Post one order to a running cluster, show its invoice, and stop the cluster."""
    try:
        url, token = wait_for_banner(cluster)
        new = {"customer": "Ada", "net": "100.00"}
        say(f"POST {url}/shop/orders {json.dumps(new)}")
        order = call("POST", f"{url}/shop/orders", token, new)
        say(f"  {json.dumps(order)}")
        invoice = wait_for_invoice(f"{url}/shop/orders/{order['order']}/invoice", token)
        say(f"order {order['order']} became invoice {invoice['invoice']}: {invoice['total']} {invoice['currency']},")
        say(f"taken by the node with WORKER_MODE='!', made by the process {invoice['node']!r}")
        if keep:
            say("the cluster goes on; Ctrl-C stops it")
            follow(cluster)
    finally:
        stop(cluster)


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


def start(python: Path, data: Path) -> "subprocess.Popen[str]":
    """Start the cluster; its database is a file in ``data``."""
    say(shlex.join(["nocohost", "up", *MODES]))
    environment = os.environ | {"NOCOHOST_DATA_DIR": str(data), "PYTHONUNBUFFERED": "1"}
    command = [str(python.parent / "nocohost"), "up", *MODES]
    return subprocess.Popen(command, cwd=data, env=environment, stdout=subprocess.PIPE, text=True)


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


def wait_for_invoice(url: str, token: str) -> "dict[str, str]":
    """Ask for the invoice until it is there."""
    say(f"GET {url}, until it is there")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            invoice = call("GET", url, token)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            time.sleep(0.1)
        else:
            say(f"  {json.dumps(invoice)}")
            return invoice
    sys.exit("no invoice within a minute; what the nodes said is above")


def call(method: str, url: str, token: str, body: object = None) -> "dict[str, str]":
    """Send one request with the token, and return the JSON answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        result: dict[str, str] = json.load(answer)
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
