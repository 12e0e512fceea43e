"""What subscribers are told: the changes of records as payloads of jobs, in the transaction that makes the changes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pydantic_core import to_json

from nocohost.api.changes import Change, Record
from nocohost.api.resources import Subscription
from nocohost.store.resources.shape import Shape

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

CHUNK_RECORDS = 500
Both = tuple[Record | None, Record | None]
"""A record before and after its change."""


class EventQueue(Protocol):
    """Where the jobs of subscribers go; the queue supplies it."""

    @property
    def payload_bytes(self) -> int:
        """Return how large a payload may be."""

    def require_key(self, key: str) -> None:
        """Raise ``UnknownKeyError`` for a key that nobody declares."""

    async def enqueue_texts(self, jobs: Sequence[tuple[str, str]], connection: "AsyncConnection") -> None:
        """Make a job of each (key, payload as JSON text); the payload is looked at by whoever runs the job."""


async def tell(
    queue: EventQueue,
    connection: "AsyncConnection",
    shape: Shape,
    change: Change,
    subscriptions: Sequence[Subscription],
    changed: Sequence[Both],
) -> None:
    """Enqueue, by the caller's transaction, one job for each subscription and at most 500 of the changed records.

    A payload that would be larger than the queue takes is parted further; of a record that is too large alone, only
    its key is told.
    """
    if not subscriptions or not changed:
        return
    jobs = []
    for one in subscriptions:
        fitting = [both for both in changed if _interests(one, both)]
        head = {"resource": shape.resource.name, "event": change, "subscription": one.name, "data": dict(one.data)}
        room = queue.payload_bytes - len(to_json(head)) - 100
        chunks = _chunks((_record(shape, both) for both in fitting), room)
        jobs += [(one.key, to_json({**head, "records": records}).decode()) for records in chunks]
    if jobs:
        await queue.enqueue_texts(jobs, connection)


def _interests(one: Subscription, both: Both) -> bool:
    """Tell whether the change is one of the kind that is waited for: of an update, whether a field of it changed."""
    before, after = both
    if before is None or after is None:
        return True
    return any(before[name] != after[name] for name in one.fields or after if name in after)


def _record(shape: Shape, both: Both) -> dict[str, Any]:
    before, after = (None if record is None else shape.resource.show(record) for record in both)
    known: Mapping[str, Any] = after or before or {}
    return {"key": {name: known[name] for name in shape.key}, "before": before, "after": after}


def _chunks(records: Iterable[dict[str, Any]], room: int) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    used = 0
    for record in records:
        size = len(to_json(record)) + 1
        told = record if size <= room else {"key": record["key"], "before": None, "after": None, "too_large": True}
        if told is not record:
            size = len(to_json(told)) + 1
        if chunk and (len(chunk) == CHUNK_RECORDS or used + size > room):
            yield chunk
            chunk, used = [], 0
        chunk.append(told)
        used += size
    if chunk:
        yield chunk
