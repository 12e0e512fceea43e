"""``nocohost up MODE...``: a whole cluster on this machine, one real process per mode."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from nocohost.api.mode import WorkerMode
from nocohost.cli.store import open_store
from nocohost.host.first_token import create_first_admin
from nocohost.host.processes import NodeProcess, free_port
from nocohost.node.fleet import lint
from nocohost.node.mode import parse_mode
from nocohost.node.settings import Settings, load_settings
from nocohost.plugins.catalogue import Catalogue, read_catalogue
from nocohost.web.hosts import is_loopback

COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "bright_red")


@click.command()
@click.argument("modes", nargs=-1, required=True, metavar="MODE...")
def up(modes: Sequence[str]) -> None:
    """Start a cluster on this machine: one process per MODE, joined logs, one Ctrl-C.

    Quote the modes, the shell reads some of them otherwise: nocohost up '!' 'shop:invoice'
    """
    sys.exit(asyncio.run(run_cluster(modes)))


async def run_cluster(modes: Sequence[str]) -> int:
    """Start one node per mode, show their logs until a signal or until all have ended; return the exit code."""
    settings = load_settings(os.environ).settings
    catalogue = read_catalogue()
    parsed = [
        parse_mode(mode, declared=catalogue.declared_keys, external=settings.external_keys).mode for mode in modes
    ]
    if any(mode.is_transient for mode in parsed):
        raise click.UsageError("'-' is the mode of a throwaway child; it is no node of a cluster")
    for finding in lint(list(modes), declared=catalogue.declared_keys, external=settings.external_keys).findings:
        if finding.level != "info":
            say(f"warning   {finding.message}")  # to a cluster that starts, an error of a plan is no more than that
    token = await prepare_database(settings)
    cluster = plan_nodes(parsed, settings)
    stopping, signals = asyncio.Event(), list[int]()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop_cluster, cluster, stopping, signals, number)
    try:
        watchers = [asyncio.create_task(watch(node, stopping)) for node in await start(cluster, stopping)]
        ready = await asyncio.gather(*(node.ready() for node in cluster if node.process))
        if not stopping.is_set() and any(ready):
            show_banner(cluster, parsed, ready, token, catalogue)
        codes = await asyncio.gather(*watchers)
    finally:
        for node in cluster:
            node.signal(signal.SIGKILL)
    if len(signals) > 1 and any(codes):
        return 128 + signals[1]
    return 1 if any(codes) else 0


async def prepare_database(settings: Settings) -> str | None:
    """Upgrade the database once for all nodes; on loopback, make the first admin token and print it at once."""
    async with open_store(settings) as database:
        if settings.admin_token is not None or not is_loopback(settings.http.host):
            return None
        token = await create_first_admin(database)
    if token is not None:
        say(f"token     {token}  (admin; shown this once)")
    return token


async def start(cluster: Sequence[NodeProcess], stopping: asyncio.Event) -> list[NodeProcess]:
    """Start the nodes one after the other, and return those that started; a signal in between ends that."""
    started = []
    for node in cluster:
        if stopping.is_set():
            break
        await node.start()
        started.append(node)
        if stopping.is_set():
            node.signal(signal.SIGTERM)
    return started


def plan_nodes(modes: Sequence[WorkerMode], settings: Settings) -> list[NodeProcess]:
    """Give each mode a name and free ports; the first node that serves requests takes the port that is set."""
    width = max(len(name) for name in names_of(modes))
    colours = dict(zip(names_of(modes), COLOURS * len(modes), strict=False))
    fixed = [settings.http.port] if is_free(settings.http.host, settings.http.port) else []

    def show(node: NodeProcess, line: str) -> None:
        say(f"{click.style(node.name.ljust(width), fg=colours[node.name])} {line}")

    environment = dict(os.environ) | {"NOCOHOST_DATABASE__UPGRADE": "false", "PYTHONUNBUFFERED": "1"}
    environment["NOCOHOST_ADMIN__HOST"] = "127.0.0.1"
    environment.setdefault("NOCOHOST_LOG__FORMAT", "console")
    return [
        NodeProcess(
            name=name,
            mode=mode.canonical,
            http_port=fixed.pop() if mode.serves_requests and fixed else free_port(),
            admin_port=free_port(),
            environment=environment,
            on_line=show,
        )
        for name, mode in zip(names_of(modes), modes, strict=True)
    ]


def names_of(modes: Sequence[WorkerMode]) -> list[str]:
    """Name the nodes by what they serve: ``requests-1``, ``shop-invoice-2``."""
    return [f"{name_of(mode)}-{number}" for number, mode in enumerate(modes, start=1)]


def name_of(mode: WorkerMode) -> str:
    """Return one word for what a node of this mode serves."""
    if mode.serves_requests:
        return "all" if mode.serves_all else "requests"
    return "services" if mode.serves_all else re.sub(r"[^a-z0-9]+", "-", mode.canonical)[:24].strip("-")


def is_free(host: str, port: int) -> bool:
    """Tell whether nobody listens on ``port`` now."""
    try:
        return free_port(host, port) == port
    except OSError:
        return False


def say(line: str) -> None:
    """Print a line; that nobody reads it any more must not end the cluster."""
    with suppress(OSError):
        click.echo(line)


async def watch(node: NodeProcess, stopping: asyncio.Event) -> int:
    """Wait for the end of one node, and say so when nobody asked for it."""
    code = await node.wait()
    if not stopping.is_set():
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        say(f"{node.name} {how}; the other nodes go on")
    return code


def stop_cluster(cluster: Sequence[NodeProcess], stopping: asyncio.Event, signals: list[int], number: int) -> None:
    """Ask every node to drain; asked again, they leave at once. ``signals`` takes down what was asked by."""
    if not stopping.is_set():
        say("stopping: running jobs are finished or handed back; again to leave at once")
    stopping.set()
    signals.append(number)
    for node in cluster:
        node.signal(signal.SIGTERM)


def show_banner(
    cluster: Sequence[NodeProcess],
    modes: Sequence[WorkerMode],
    ready: Sequence[bool],
    token: str | None,
    catalogue: Catalogue,
) -> None:
    """Print where everything is, which node is not ready, and a curl line to begin with."""
    url = ""
    for node, mode, is_ready in zip(cluster, modes, ready, strict=True):
        served = sorted(key for key in catalogue.declared_keys if mode.covers(key))
        words = ["requests"] * mode.serves_requests + served
        does = f"serves {', '.join(words) or 'nothing'}" if is_ready else "is not ready: its log says why"
        say(f"node      {node.name}  WORKER_MODE='{mode.canonical}'  {does}")
        if mode.serves_requests and is_ready:
            url = url or node.url
            say(f"requests  {node.url}")
        say(f"health    {node.admin_url}/readyz")
    if url:
        shown = token or "$TOKEN"
        say(f'try       curl -H "Authorization: Bearer {shown}" {url}/api/v1/jobs')
    if all(ready):
        say("ready     Ctrl-C stops all nodes")
    else:
        say(f"partly    {sum(ready)} of {len(ready)} nodes are ready; Ctrl-C stops all")
