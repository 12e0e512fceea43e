"""Clients over HTTP: they enqueue, ask again with the same key, look, cancel and retry, and write down what they saw.

``info`` means that nobody knows: a lost answer, a timeout, a 5xx. Such an operation may or may not have happened, and
is never counted as failed. Clients come through proxies that drop some answers.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
from cluster import Node
from records import Record

TOKEN = "nch_chaos_admin_token_that_opens_nothing_else"
TIMEOUT = aiohttp.ClientTimeout(total=4.0)
ANSWERED = frozenset({200, 202})


@dataclass(eq=False)
class Producer:
    """One client with a history of its own; its choices follow from the seed."""

    name: str
    nodes: Sequence[Node]
    record: Record
    seed: str
    pause_seconds: float = 0.04
    known: list[dict[str, Any]] = field(default_factory=list)
    """Jobs that it has an id for, with the body that made them."""

    async def run(self, enough: asyncio.Event) -> None:
        """Do one thing after another until it is enough."""
        dice = random.Random(f"{self.seed} {self.name}")
        number = 0
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=TIMEOUT) as http:
            while not enough.is_set():
                await asyncio.sleep(self.pause_seconds * dice.uniform(0.2, 1.8))
                roll = dice.random()
                if roll < 0.7 or not self.known:
                    await self.enqueue(http, dice, f"{self.name}-{number}")
                    number += 1
                elif roll < 0.72:
                    await self.take_back(http, dice, f"{self.name}-{number}")
                    number += 1
                elif roll < 0.78:
                    await self.ask_again(http, dice)
                elif roll < 0.90:
                    await self.look(http, dice, dice.choice(self.known)["job"])
                elif roll < 0.96:
                    await self.operate(http, dice, "cancel")
                else:
                    await self.operate(http, dice, "retry")

    async def take_back(self, http: aiohttp.ClientSession, dice: random.Random, op: str) -> None:
        """Enqueue one job that is due in a while and cancel it at once: most others are over when that comes."""
        known = len(self.known)
        await self.enqueue(http, dice, op, dice.uniform(1.5, 2.5))
        if len(self.known) > known:
            await self.operate(http, dice, "cancel", self.known[-1:])

    async def enqueue(self, http: aiohttp.ClientSession, dice: random.Random, op: str, delay: float = 0.0) -> None:
        """Enqueue one job: with an idempotency key up to five times until an answer comes, without one just once."""
        body = plan(dice, op)
        if delay := delay or dice.choice([0.0] * 9 + [dice.uniform(0.5, 2.5)]):
            # This machine's clock is the database's clock, too; those of the nodes may be wrong.
            instant = datetime.fromtimestamp(time.time() + delay, UTC)
            body["run_at"] = instant.isoformat().replace("+00:00", "Z")
        times = 1
        if dice.random() < 0.7:
            body["idempotency_key"] = f"key-{op}"
            times = 5
        for _ in range(times):
            if await self._post(http, dice, body):
                break
            await asyncio.sleep(0.2)

    async def ask_again(self, http: aiohttp.ClientSession, dice: random.Random) -> None:
        """Send an old request again, its job over or not; or another payload under its key, which must be refused."""
        keyed = [body for body in self.known if "idempotency_key" in body]
        if keyed:
            body = dict(dice.choice(keyed))
            if dice.random() < 0.3:
                body["payload"] = {**body["payload"], "seconds": 0.25}
            await self._post(http, dice, body)

    async def look(self, http: aiohttp.ClientSession, dice: random.Random, job: str) -> None:
        """Look at a job: once seen at its end, it must stay so."""
        status, answer = await self._ask(http, dice, "GET", f"/api/v1/jobs/{job}")
        if status == 200:
            self.record.note("ok", act="look", job=job, state=answer["state"], orphan=answer["orphan"])
        elif status == 404:
            self.record.note("ok", act="look", job=job, state="absent", orphan=False)

    async def operate(
        self, http: aiohttp.ClientSession, dice: random.Random, act: str, among: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Look at a job, then cancel or retry it, whatever its state; the API refuses what makes no sense."""
        among = among or (self.known[-3:] if dice.random() < 0.5 else self.known)
        job = dice.choice(among)["job"]
        await self.look(http, dice, job)
        self.record.note("invoke", act=act, job=job)
        status, answer = await self._ask(http, dice, "POST", f"/api/v1/jobs/{job}/{act}")
        if status in ANSWERED:
            self.record.note("ok", act=act, job=job, state=answer["state"])
        else:
            self.record.note("fail" if 400 <= status < 500 else "info", act=act, job=job, status=status)

    async def _post(self, http: aiohttp.ClientSession, dice: random.Random, body: dict[str, Any]) -> bool:
        """Send one enqueue; return whether there was an answer that settles it."""
        sent = {name: value for name, value in body.items() if name != "job"}
        told = {"act": "enqueue", "op": body["payload"]["op"], "idempotency_key": body.get("idempotency_key")}
        self.record.note("invoke", **told, key=body["key"], payload=body["payload"], run_at=body.get("run_at"))
        status, answer = await self._ask(http, dice, "POST", "/api/v1/jobs", sent)
        if status == 202:
            self.record.note("ok", **told, job=answer["id"], payload=body["payload"])
            if "job" not in body:
                self.known.append({**body, "job": answer["id"]})
            return True
        self.record.note("fail" if 400 <= status < 500 else "info", **told, status=status, why=str(answer)[:200])
        return 400 <= status < 500

    async def _ask(
        self, http: aiohttp.ClientSession, dice: random.Random, method: str, path: str, body: Any = None
    ) -> tuple[int, Any]:
        """Ask any node; return status and answer, (0, why) when there is none."""
        node = dice.choice(self.nodes)
        assert node.door is not None
        try:
            async with http.request(method, f"http://127.0.0.1:{node.door.port}{path}", json=body) as answer:
                return answer.status, await answer.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return 0, f"{type(error).__name__}: {error}"


def plan(dice: random.Random, op: str) -> dict[str, Any]:
    """Draw what a job is to do: most are quick, some outlast a lease, some fail, a few give up."""
    key, seconds = dice.choice(
        [("chaos:quick", 0.0)] * 8
        + [("chaos:quick", 0.1)] * 4
        + [("chaos:slow", dice.uniform(1.0, 4.5))] * 3
        + [("chaos:relay", dice.uniform(0.0, 1.0))] * 3
        + [("chaos:brittle", 0.05)]
    )
    payload: dict[str, Any] = {"op": op, "seconds": round(seconds, 3)}
    if key == "chaos:brittle":
        payload |= {"fails": 1000}
    elif key == "chaos:quick" and dice.random() < 0.2:
        payload |= {"how": dice.choice(["raise", "retry", "snooze", "dead"]), "fails": dice.randint(1, 2)}
    return {"key": key, "payload": payload}
