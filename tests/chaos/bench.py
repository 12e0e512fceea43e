"""One run: a cluster, producers and a nemesis for a while; then heal, drain, dump, and let the checker judge."""

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from cluster import Cluster, Node, base_environ
from dump import count_unfinished, open_engine, read_dump
from nemesis import Nemesis
from producers import TOKEN, Producer
from proxy import Proxy
from records import Dump, Evidence, Record, Timing, make_folders, read_lines, read_logs
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from verdict import Floors, Verdict, judge

from nocohost.child.room import FEWEST_PLACES
from nocohost.testing.postgres import PostgresServer

SERVED = "chaos:quick,chaos:slow,chaos:relay,chaos:order,chaos:brittle,chaos:tick"
MODES = ("!", f"!,{SERVED}", SERVED, "*,-chaos:lonely", "chaos:lonely")
"""Where clients come in, where clients come in and work is done, two that only work, and the sole server of a key."""
LONGEST_DRAIN = 3.0
"""How often its time the queue may take to become empty, as long as it becomes emptier: a child starts in seconds."""
SKEWS = ("-3600", "90", "3600", "step", "-90")
"""By how much the wall clocks of the nodes are off, where the database has a clock of its own."""


@dataclass(frozen=True)
class Plan:
    """What a run does; ``build`` names a deliberately broken build, empty for the present one."""

    folder: Path
    plugin: Path
    url: str
    deck: Mapping[str, int]
    floors: Floors
    server: PostgresServer | None = None
    seed: str = "1"
    seconds: float = 0.0
    """How long harm is done; the deck is played once at least."""
    pause_seconds: float = 1.2
    drain_seconds: float = 40.0
    producers: int = 4
    modes: Sequence[str] = MODES
    build: str = ""
    timing: Timing = field(default_factory=lambda: Timing(places=max(FEWEST_PLACES, os.cpu_count() or 1)))


async def run(plan: Plan) -> Verdict:
    """Make the run, keep its records and its verdict in the folder, and return the verdict."""
    make_folders(plan.folder)
    record = Record(plan.folder, "nemesis", "nemesis")
    engine = open_engine(plan.url)
    told = {"seed": plan.seed, "build": plan.build, "modes": list(plan.modes), "deck": dict(plan.deck)}
    record.note("seed", dialect=engine.dialect.name, **told)
    try:
        async with AsyncExitStack() as stack:
            cluster = Cluster(await make_nodes(plan, stack), record)
            stack.push_async_callback(cluster.stop)
            await cluster.start()
            await do_harm(plan, cluster, record)
            await heal(plan, cluster, record, engine)
        dump = read_dump(engine)
    finally:
        engine.dispose()
        record.close()
    verdict = judge(gather(plan, dump), plan.floors)
    (plan.folder / "dump.json").write_text(json.dumps(dump.__dict__, indent=1, default=str))
    (plan.folder / "verdict.txt").write_text(verdict.text(f"seed {plan.seed} {plan.build}".strip()))
    return verdict


async def make_nodes(plan: Plan, stack: AsyncExitStack) -> list[Node]:
    """Make the nodes, each with a door for clients and, on PostgreSQL, a proxy of its own to the database."""
    shared = base_environ(plan.folder, plan.plugin, plan.seed) | {"NOCOHOST_ADMIN_TOKEN": TOKEN}
    if plan.build:
        shared["CHAOS_BUILD"] = plan.build
    nodes = []
    for number, mode in enumerate(plan.modes):
        node = Node(f"node-{number + 1}", mode, {}, plan.folder)
        environ = {**shared, "NOCOHOST_DATABASE__URL": plan.url}
        if plan.server is not None:
            node.database = await stack.enter_async_context(Proxy(plan.server.port).running())
            environ["NOCOHOST_DATABASE__URL"] = plan.url.replace(f":{plan.server.port}/", f":{node.database.port}/")
            environ["CHAOS_SKEW"] = SKEWS[number % len(SKEWS)]
        node.environ = environ
        if node.serves_requests:
            lossy = Proxy(node.http_port, lossy=0.03, seed=f"{plan.seed} {node.name}")
            node.door = await stack.enter_async_context(lossy.running())
        nodes.append(node)
    return nodes


async def do_harm(plan: Plan, cluster: Cluster, record: Record) -> None:
    """Let producers and nemesis run side by side for the time of the run."""
    enough = asyncio.Event()
    fronts = [node for node in cluster.nodes if node.serves_requests]
    names = [f"client-{number}" for number in range(plan.producers)]
    records = [Record(plan.folder, "client", name) for name in names]
    clients = [Producer(name, fronts, kept, plan.seed) for name, kept in zip(names, records, strict=True)]
    producing = [asyncio.create_task(client.run(enough), name=client.name) for client in clients]
    nemesis = Nemesis(cluster, record, seed=plan.seed, url=plan.url, server=plan.server, timing=plan.timing)
    try:
        await nemesis.run(plan.deck, plan.pause_seconds, plan.seconds)
    finally:
        enough.set()
        (plan.folder / "enough").touch()
        await asyncio.gather(*producing)
        for kept in records:
            kept.close()


async def heal(plan: Plan, cluster: Cluster, record: Record, engine: Engine) -> None:
    """Wait until every node is well again and the queue is empty, or it has not become emptier for long."""
    record.note("heal")
    await cluster.ready()
    begun = fallen = time.monotonic()
    left = fewest = 2**31
    while left and time.monotonic() < min(fallen + plan.drain_seconds, begun + LONGEST_DRAIN * plan.drain_seconds):
        try:
            left = await asyncio.to_thread(count_unfinished, engine)
        except SQLAlchemyError as error:
            record.note("dump_failed", why=repr(error)[:200])
        if left < fewest:
            fewest, fallen = left, time.monotonic()
        await asyncio.sleep(0.2)
    record.note("drained", left=left)


def gather(plan: Plan, dump: Dump) -> Evidence:
    """Return the records of the run."""
    return Evidence(
        client=read_lines(plan.folder, "client"),
        ledger=read_lines(plan.folder, "ledger"),
        nemesis=read_lines(plan.folder, "nemesis"),
        dump=dump,
        pulse=read_lines(plan.folder, "pulse"),
        logs=read_logs(plan.folder),
        timing=plan.timing,
    )
