"""The hot statements on PostgreSQL: one statement each, with arrays for what differs from job to job."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json
from sqlalchemy.ext.asyncio import AsyncEngine

from nocohost.store.hot.driver_connection import DriverConnection
from nocohost.store.hot.statements import CLAIM, CLAIM_PLAIN, END, GIVE_BACK, INSERT, INSERT_ONE, OLDEST_LEVELS
from nocohost.store.hot.values import ANY_PLACES, ClaimedJob, NewJob, OldestLevel, Settlement, Want
from nocohost.store.types import read_json


class PostgresqlHotStore:
    """``HotStore`` on PostgreSQL: one connection each for inserts, claims and settlements, so that none waits."""

    def __init__(self, engine: AsyncEngine, what: str) -> None:
        self._inserts = DriverConnection(engine, what)
        self._claims = DriverConnection(engine, what)
        self._settlements = DriverConnection(engine, what)
        self._grouped: set[str] = set()
        """Keys that had jobs in groups when they were last claimed."""
        self._apart: set[str] = set()
        """Keys that had a job which must run apart, and no slot left for it."""

    async def insert(self, news: Sequence[NewJob]) -> Sequence[datetime]:
        """See ``HotStore.insert``."""
        if len(news) == 1:
            new = news[0]
            values = (new.id, new.key, new.payload, new.priority, new.run_at, new.group, new.idempotency_key)
            ((enqueued_at,),) = await self._inserts.fetch(INSERT_ONE, values)
            return [enqueued_at.astimezone(UTC)]
        rows: list[Any] = await self._inserts.fetch(INSERT, insertion(news))
        instants = dict(rows)
        return [instants[new.id].astimezone(UTC) for new in news]

    async def claim(
        self, node_id: str, claim_id: str, wants: Sequence[Want], places: int = ANY_PLACES
    ) -> list[ClaimedJob]:
        """See ``HotStore.claim``. Keys that have groups, or jobs that must run apart, are a transaction of their own.

        Such a job has its turn at once if the key has a slot left, otherwise by its rank at the next claim.
        """
        rows: list[tuple[Any, ...]] = []
        if places <= 0:
            places = 0
            self._apart.clear()
        plain = [want for want in wants if want.key not in self._grouped and want.key not in self._apart]
        if plain:
            rows = await self._claims.fetch(CLAIM_PLAIN, wanted(node_id, claim_id, plain, places))
            told = [row for row in rows if row[0] is None]
            self._grouped.update(row[1] for row in told if row[4] is not None)
            self._apart.update(row[1] for row in told if row[4] is None)
            rows = [row for row in rows if row[0] is not None]
        taken = Counter(row[1] for row in rows)
        whole = [want for want in wants if want.key in self._grouped or want.key in self._apart]
        whole = [want._replace(slots=want.slots - taken[want.key]) for want in whole if want.slots > taken[want.key]]
        if whole:
            self._apart -= {want.key for want in whole}
            more = await self._claims.fetch(CLAIM, wanted(node_id, claim_id, whole, places))
            taken, in_groups = Counter(row[1] for row in more), {row[1] for row in more if row[4] is not None}
            # A key that gave all it had, and nothing of a group, may be asked the simple question again.
            self._grouped -= {w.key for w in whole if w.key not in in_groups and taken[w.key] < w.slots}
            rows += more
        jobs = claimed(rows, claim_id)
        jobs.sort(key=lambda job: (job.priority, job.due, job.id))
        return jobs

    async def oldest_levels(self, wants: Sequence[Want]) -> dict[str, OldestLevel]:
        """See ``HotStore.oldest_levels``."""
        keys, _, floors, isolated = map(list, zip(*wants, strict=True))
        rows = await self._claims.fetch(OLDEST_LEVELS, {"keys": keys, "floors": floors, "isolated": isolated})
        return {key: OldestLevel(priority, last) for key, priority, last in rows}

    async def settle(self, settlements: Sequence[Settlement]) -> set[str]:
        """See ``HotStore.settle``. Endings and jobs that go back are a transaction each."""
        endings = [one for one in settlements if one.state != "pending"]
        backs = [one for one in settlements if one.state == "pending"]
        written: set[str] = set()
        if endings:
            written.update(await self._end(endings))
        if backs:
            rows = await self._settlements.fetch(GIVE_BACK, _columns(backs))
            written.update(row[0] for row in rows)
            rest = [one._replace(state="cancelled") for one in backs if one.job_id not in written]
            if rest:
                written.update(await self._end(rest))
        return written

    async def close(self) -> None:
        """See ``HotStore.close``."""
        for connection in (self._inserts, self._claims, self._settlements):
            await connection.close()

    async def _end(self, endings: Sequence[Settlement]) -> set[str]:
        return {row[0] for row in await self._settlements.fetch(END, _columns(endings))}


def wanted(node_id: str, claim_id: str, wants: Sequence[Want], places: int = ANY_PLACES) -> Mapping[str, Any]:
    """Return the parameters of ``CLAIM``."""
    keys, slots, floors, isolated = map(list, zip(*wants, strict=True))
    wish = {"keys": keys, "slots": slots, "floors": floors, "isolated": isolated, "places": places}
    return {"node": node_id, "claim": claim_id, **wish}


def claimed(rows: Iterable[Any], claim_id: str) -> list[ClaimedJob]:
    """Return what ``CLAIM`` gave."""
    return [ClaimedJob._make((*row[:2], read_json(row[2]), *row[3:], claim_id)) for row in rows]


def insertion(news: Sequence[NewJob]) -> Mapping[str, str]:
    """Return the parameters of ``INSERT``."""
    ids, keys, payloads, priorities, instants, groups, idempotency_keys, _, _ = zip(*news, strict=True)
    return {
        "ids": ",".join(ids),
        "keys": ",".join(keys),
        "payloads": f"[{','.join(payloads)}]",
        "priorities": ",".join(map(str, priorities)),
        "run_at": ",".join("" if instant is None else instant.isoformat() for instant in instants),
        "groups": _texts(groups),
        "idempotency_keys": _texts(idempotency_keys),
    }


def _columns(settlements: Sequence[Settlement]) -> Mapping[str, str]:
    ids, claims, states, values, errors, charges, crashes, delays = zip(*settlements, strict=True)
    return {
        "ids": ",".join(ids),
        "claims": ",".join(claims),
        "states": ",".join(states),
        "values": f"[{','.join(value or 'null' for value in values)}]",
        "errors": _texts(errors),
        "charges": ",".join("1" if charge else "0" for charge in charges),
        "crashes": ",".join("1" if crash else "0" for crash in crashes),
        "delays": ",".join(map(str, delays)),
    }


def _texts(texts: Sequence[str | None]) -> str:
    return to_json(texts).decode()
