"""Who a node is, and the ids it hands out."""

import os
import secrets
import struct
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

MILLISECOND = 1_000_000
"""In nanoseconds."""
POOL_IDS = 256


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """One boot of a node: ``id`` is new at every start, ``name`` is what people call the node."""

    id: str
    name: str


def new_identity(name: str) -> NodeIdentity:
    """Return the identity of a node that starts now."""
    return NodeIdentity(new_id(), name)


def new_id() -> str:
    """Return a UUID version 7 as canonical text of 36 characters; later ids sort after earlier ones.

    Ids order by this machine's wall clock, to a quarter of a microsecond; within that, and across machines whose clocks
    differ, the order is not promised.
    """
    return uuid7(time.time_ns(), secrets.randbits(62))


def new_ids() -> Iterator[str]:
    """Yield ids as ``new_id`` makes them, for many that are made together: random bits are asked for by the hundred."""
    while True:
        for (noise,) in struct.iter_unpack("Q", os.urandom(8 * POOL_IDS)):
            yield uuid7(time.time_ns(), noise >> 2)


def new_claim_id() -> str:
    """Return a random UUID: the right to end one attempt, which nobody can guess."""
    return str(uuid.uuid4())


def uuid7(nanoseconds: int, noise: int) -> str:
    """Return the UUID version 7 of an instant (since 1970) and 62 random bits, as RFC 9562 lays it out (method 3).

    It is put together as text, which costs a fraction of a ``uuid.UUID``: a node makes one for each job.
    """
    milliseconds, rest = divmod(nanoseconds, MILLISECOND)
    fraction = rest * 4096 // MILLISECOND
    parts = (milliseconds >> 16, milliseconds & 0xFFFF, fraction, 2 << 14 | noise >> 48, noise & 0xFFFF_FFFF_FFFF)
    return "%08x-%04x-7%03x-%04x-%012x" % parts  # noqa: UP031 - a third less than format()
