"""What goes wrong, in an order that follows from the seed; each act is noted when it begins and when it is over."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import aiohttp
import psutil
from case import DEATH_SECONDS, EVER
from cluster import Cluster, Node
from dump import open_engine
from producers import TOKEN
from records import Line, Record, Timing, read_lines
from sqlalchemy import text

from nocohost.testing.postgres import PostgresServer

PATIENCE_SECONDS = 8.0
"""How long an act waits for a node that nobody else has."""
TAKEOVER_SECONDS = 20.0
"""How long a node stays frozen at most, past its lease, until another takes its work over."""
SQLITE_DECK: Mapping[str, int] = {"strand": 1, "kill": 4, "freeze": 2, "roll": 2}
POSTGRESQL_DECK: Mapping[str, int] = {
    "strand": 1,
    "kill": 4,
    "freeze": 2,
    "roll": 2,
    "crash": 1,
    "terminate": 1,
    "stall": 2,
    "lose": 3,
    "cut": 1,
}
"""How often each act comes in a short run; a deck that is used up is shuffled again."""
TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT {count}"
)


class NobodyFreeError(Exception):
    """There was no node to harm for long."""


class Nemesis:
    """Does harm to a cluster until it is told to stop; several acts may overlap, but each on a node of its own."""

    def __init__(
        self,
        cluster: Cluster,
        record: Record,
        *,
        seed: str,
        url: str,
        server: PostgresServer | None,
        timing: Timing,
    ) -> None:
        self._cluster = cluster
        self._record = record
        self._dice = random.Random(f"{seed} nemesis")
        self._url = url
        self._server = server
        self._timing = timing
        self._acting: set[asyncio.Task[None]] = set()
        self._missed: list[str] = []
        """Acts for which there was no node, to be played at the end."""
        self._long = asyncio.Lock()
        """One node at a time is frozen or cut off for long, so that others are there to take over."""

    async def run(self, deck: Mapping[str, int], pause_seconds: float, seconds: float) -> None:
        """Play the whole deck once, and again until ``seconds`` are over; returns when every act is over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        hand = self._shuffled(deck)
        while hand:
            self._begin(hand.pop())
            await asyncio.sleep(pause_seconds * self._dice.uniform(0.6, 1.4))
            if not hand and loop.time() < until:
                hand = self._shuffled(deck)
        await asyncio.gather(*self._acting)
        for act in self._missed[:]:  # on a busy machine nodes are long in coming back
            self._begin(act)
            await asyncio.gather(*self._acting)

    def _shuffled(self, deck: Mapping[str, int]) -> list[str]:
        hand = [act for act, times in deck.items() for _ in range(times) if act != "strand"]
        self._dice.shuffle(hand)
        return hand + ["strand"] * deck.get("strand", 0)  # it takes longest, so it comes first

    def _begin(self, act: str) -> None:
        acts: Mapping[str, Callable[[], Awaitable[None]]] = {
            "kill": self.kill,
            "freeze": self.freeze,
            "roll": self.roll,
            "crash": self.crash,
            "terminate": self.terminate,
            "stall": self.stall,
            "lose": self.lose,
            "cut": self.cut,
            "strand": self.strand,
        }
        task: asyncio.Task[None] = asyncio.ensure_future(self._guarded(act, acts[act]))
        self._acting.add(task)
        task.add_done_callback(self._acting.discard)

    async def _guarded(self, act: str, perform: Callable[[], Awaitable[None]]) -> None:
        try:
            await perform()
        except NobodyFreeError:
            self._record.note("nobody_free", act=act)
            self._missed.append(act)
        except Exception as error:
            self._record.note("nemesis_failed", act=act, why=repr(error))
            raise

    async def kill(self) -> None:
        """Kill a node with SIGKILL, and start it again after a moment."""
        node = await self._take(busy=self._dice.random() < 0.8)
        self._note("kill", node)
        node.send(signal.SIGKILL)
        await node.ended()
        self._note("killed", node)
        await asyncio.sleep(self._dice.uniform(0.0, 0.5))
        self._start_again(node)

    async def freeze(self) -> None:
        """Stop a node in its tracks until its lease is long over, then let it go on."""
        async with self._long:
            node = await self._take(busy=True)
            self._note("freeze", node)
            node.send(signal.SIGSTOP)
            held = under_way(node)
            await asyncio.sleep(self._timing.lease_seconds * self._dice.uniform(1.4, 1.8))
            await self._taken_over(held)
            node.send(signal.SIGCONT)
            self._note("thaw", node)
            await asyncio.sleep(DEATH_SECONDS)  # it may be about to leave, so the next freeze must not meet it
            node.is_held = False

    async def roll(self) -> None:
        """Ask a node to drain, and start it again."""
        node = await self._take(busy=True)
        self._note("roll", node)
        node.send(signal.SIGTERM)
        code = await node.ended(self._timing.drain_seconds + 15.0)
        self._note("rolled", node, exit=code)
        if code is None:
            node.send(signal.SIGKILL)
            await node.ended()
        self._start_again(node)

    async def crash(self) -> None:
        """Let the database crash, and start it again after a moment."""
        assert self._server is not None
        self._record.note("crash")
        await asyncio.to_thread(self._server.stop)
        await asyncio.sleep(self._dice.uniform(0.0, 0.8))
        await asyncio.to_thread(self._server.start)
        self._record.note("restored")

    async def terminate(self) -> None:
        """Have the database end a few connections."""
        self._record.note("terminate")
        engine = open_engine(self._url)
        try:
            with engine.connect() as connection:
                connection.execute(text(TERMINATE.format(count=self._dice.randint(1, 6))))
        except Exception as error:
            self._record.note("terminate_missed", why=repr(error)[:200])  # it is crashing at this moment
        finally:
            engine.dispose()

    async def stall(self) -> None:
        """Hold back all that one node and the database say to each other, until its lease is over."""
        async with self._long:
            node = await self._take(busy=True)
            assert node.database is not None
            self._note("stall", node)
            late = node.database.late
            await node.database.stall(self._timing.lease_seconds * self._dice.uniform(1.3, 1.6))
            await asyncio.sleep(0.1)
            self._note("flow", node, late=node.database.late - late)
            node.is_held = False

    async def lose(self) -> None:
        """Lose what the database answers one node, commits included."""
        node = await self._take(requests=True)
        assert node.database is not None
        self._note("lose", node)
        lost = node.database.lost
        await node.database.lose_answers(4, 1.0)
        self._note("lost", node, lost=node.database.lost - lost)
        node.is_held = False

    async def cut(self) -> None:
        """Reset all connections of one node to the database."""
        node = await self._take()
        assert node.database is not None
        self._note("cut", node)
        node.database.cut()
        node.is_held = False

    async def strand(self) -> None:
        """Kill the only node of a key while its job runs: others must leave the job alone, and show it as an orphan."""
        node = next(node for node in self._cluster.nodes if node.is_sole)
        if node.is_held or not node.is_ready:
            return
        node.is_held = True
        op = f"strand-{node.pid}"
        self._record.note("invoke", act="enqueue", op=op, key="chaos:lonely")
        body = {"key": "chaos:lonely", "payload": {"op": op, "seconds": 30.0}, "idempotency_key": op}
        job = await self._ask("POST", "/api/v1/jobs", body)
        self._record.note("ok", act="enqueue", op=op, job=job["id"], idempotency_key=op)
        while not under_way(node):
            await asyncio.sleep(0.1)
        self._note("strand", node, job=job["id"])
        node.send(signal.SIGKILL)
        await node.ended()
        await asyncio.sleep(self._timing.lease_seconds + 2.0)
        seen = await self._ask("GET", f"/api/v1/jobs/{job['id']}")
        self._note("stranded", node, job=job["id"], state=seen["state"], orphan=seen["orphan"])
        self._record.note("invoke", act="cancel", job=job["id"])
        await self._ask("POST", f"/api/v1/jobs/{job['id']}/cancel")
        self._start_again(node)

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask whichever node answers; its door is not the lossy one."""
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as http:
            while True:
                for node in (node for node in self._cluster.nodes if node.serves_requests):
                    try:
                        url = f"http://127.0.0.1:{node.http_port}{path}"
                        async with http.request(method, url, json=body, timeout=aiohttp.ClientTimeout(3)) as answer:
                            if answer.status < 500:
                                return await answer.json()
                    except (aiohttp.ClientError, OSError, TimeoutError):
                        continue
                await asyncio.sleep(0.1)

    async def _taken_over(self, held: Collection[tuple[str, int]]) -> None:
        """Wait until another node has begun one of these attempts anew for long enough that the checker sees both."""
        if self._server is None:
            return  # a node frozen with the one lock of SQLite is waited for by all
        fences = dict(held)
        for _ in range(int(TAKEOVER_SECONDS / 0.1)):
            lines = (line for node in self._cluster.nodes for line in ledger(node))
            if any(line["what"] == "begin" and line["fence"] > fences.get(line["job"], EVER) for line in lines):
                await asyncio.sleep(1.5 * DEATH_SECONDS)
                return
            await asyncio.sleep(0.1)

    async def _take(self, *, requests: bool | None = None, serves: bool = False, busy: bool = False) -> Node:
        """Take a node that nobody has, for oneself, as soon as there is one; raises ``NobodyFreeError`` before long.

        With ``busy`` it is the one with the most attempts under way, by the ledger's account.
        """
        for _ in range(int(PATIENCE_SECONDS / 0.1)):
            free = [node for node in self._cluster.free(requests=requests) if not node.is_sole]
            if busy:
                running = {node: len(under_way(node)) for node in free}
                free = [node for node in free if running[node] and running[node] == max(running.values())]
            if free:
                node = self._dice.choice(free)
                node.is_held = True
                return node
            await asyncio.sleep(0.1)
        raise NobodyFreeError

    def _start_again(self, node: Node) -> None:
        self._cluster.start_node(node)
        node.is_held = False

    def _note(self, what: str, node: Node, **fields: Any) -> None:
        self._record.note(what, node=node.name, pid=node.pid, **fields)


def ledger(node: Node) -> Sequence[Line]:
    """Return the ledger of the present process of a node."""
    return read_lines(node.folder, "ledger", f"{node.name}-{node.pid}")


def under_way(node: Node) -> Collection[tuple[str, int]]:
    """Return the attempts that the present process of a node has begun and not ended, nor lost with their child."""
    begun: dict[tuple[str, int], Line] = {}
    for line in ledger(node):
        if line["what"] == "begin":
            begun[line["job"], line["fence"]] = line
        elif line["what"] == "end":
            begun.pop((line["job"], line["fence"]), None)
    return [begin for begin, line in begun.items() if "child" not in line or psutil.pid_exists(line["child"])]
