"""What a node and its child say to each other: one JSON object a line, with a kind and its fields.

The node says ``hello`` (settings), ``order``, ``cancel`` and ``leave``; the child ``ready``, ``log``, ``memory`` and,
for each order, ``started`` and one answer: ``returned``, ``retry``, ``snooze``, ``dead_letter``, ``raised`` or
``refused``.
"""

import json
from datetime import datetime
from typing import Any, NamedTuple

from nocohost.api.errors import HandlerRaisedError
from nocohost.api.job import DeadLetter, Retry, Snooze
from nocohost.api.room import WorkOrder
from nocohost.child.call import Raised

LINE_BYTES = 64 * 1024 * 1024
"""The longest line that is read: a payload or a returned value, as JSON."""
ANSWERS = frozenset({"returned", "retry", "snooze", "dead_letter", "raised", "refused"})


class Message(NamedTuple):
    """One line, read."""

    kind: str
    fields: dict[str, Any]


def encode(kind: str, **fields: Any) -> bytes:
    """Return a message as its line; what JSON does not know is written as its ``repr``."""
    return json.dumps({"kind": kind, **fields}, default=repr).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Return the message of a line; raises ``ValueError`` for what is none."""
    fields = json.loads(line)
    if not isinstance(fields, dict) or not isinstance(fields.get("kind"), str):
        raise ValueError(f"{line[:80]!r} is no message")
    return Message(fields.pop("kind"), fields)


def order_fields(order: WorkOrder) -> dict[str, Any]:
    """Return a work order as JSON has it."""
    values = {name: getattr(order, name) for name in WorkOrder.__dataclass_fields__}
    return values | {"enqueued_at": order.enqueued_at.isoformat()}


def read_order(fields: dict[str, Any]) -> WorkOrder:
    """Return the work order that ``order_fields`` wrote."""
    return WorkOrder(**fields | {"enqueued_at": datetime.fromisoformat(fields["enqueued_at"])})


def encode_outcome(outcome: Any) -> bytes:
    """Return what a handler returned, already checked to be JSON if it is a value, as its answer."""
    if isinstance(outcome, Retry):
        return encode("retry", delay_seconds=outcome.delay_seconds)
    if isinstance(outcome, Snooze):
        return encode("snooze", delay_seconds=outcome.delay_seconds)
    if isinstance(outcome, DeadLetter):
        return encode("dead_letter", reason=str(outcome.reason))
    if isinstance(outcome, Raised):
        return encode("raised", error=outcome.error, trace=outcome.trace)
    return encode("returned", value=outcome)


def read_outcome(answer: Message) -> Any:
    """Return what the handler returned; raises ``HandlerRaisedError`` when it raised, or was not to be had."""
    fields = answer.fields
    match answer.kind:
        case "retry":
            return Retry(fields["delay_seconds"])
        case "snooze":
            return Snooze(fields["delay_seconds"])
        case "dead_letter":
            return DeadLetter(fields["reason"])
        case "returned":
            return fields["value"]
    raise HandlerRaisedError(fields["error"], trace=fields.get("trace", ""))
