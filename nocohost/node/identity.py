"""Who a node is, and the ids it hands out."""

import secrets
import time
import uuid
from dataclasses import dataclass

MILLISECOND = 1_000_000
"""In nanoseconds."""


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


def new_claim_id() -> str:
    """Return a random UUID: the right to end one attempt, which nobody can guess."""
    return str(uuid.uuid4())


def uuid7(nanoseconds: int, noise: int) -> str:
    """Return the UUID version 7 of an instant (since 1970) and 62 random bits, as RFC 9562 lays it out (method 3).

    It is put together as text, which costs a fraction of a ``uuid.UUID``: a node makes one for each job.
    """
    milliseconds, rest = divmod(nanoseconds, MILLISECOND)
    fraction = rest * 4096 // MILLISECOND
    digits = f"{milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | noise:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
