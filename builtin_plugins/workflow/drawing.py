"""An execution drawn as a tree: its steps, where they are, and how long each took. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

MARKS: Mapping[str, str] = {
    "succeeded": "✓",
    "failed": "✗",
    "running": "▶",
    "waiting": "…",
    "skipped": "-",
    "cancelled": "⊘",
    "queued": "·",
    "timed_out": "✗",
}
VALUE_LETTERS = 60
OUTPUT_LETTERS = 1000
WAITED: Mapping[str, str] = {"workflow": "execution"}
"""What a step waits for where that is not called as its type."""
ROUNDS = 20
"""So many rounds of a loop are drawn, the last ones; of the others it is said how many there are."""


def draw(execution: Mapping[str, Any]) -> list[str]:
    """Return the lines of an execution, as the API shows it."""
    head = f"{MARKS[execution['state']]} {execution['workflow']} v{execution['version']}  {execution['state']}"
    lines = [f"{head}  {took(execution)}".rstrip() + f"  {execution['id']}"]
    if execution["reason"]:
        lines.append(f"  {execution['reason']}")
    lines += [f"  {one['message']}" for one in execution["warnings"] if one["message"] != execution["reason"]]
    lines += _block(execution["steps"] or [], "", [], "  ")
    if execution["state"] == "succeeded" and execution["output"] is not None:
        lines.append(f"  = {_short(execution['output'], OUTPUT_LETTERS)}")
    return lines


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a list: a head, and each row below it; nothing without rows."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(f"{word:<{width}}" for word, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]


def took(one: Mapping[str, Any]) -> str:
    """Return how long something took, or for how long it has gone on by what is known; "" before it began."""
    if not one["started_at"]:
        return ""
    if not one["finished_at"]:
        return f"since {one['started_at'][11:19]}"
    seconds = (_instant(one["finished_at"]) - _instant(one["started_at"])).total_seconds()
    return (
        f"{seconds * 1000:.0f} ms"
        if seconds < 1
        else f"{seconds:.1f} s"
        if seconds < 120
        else f"{seconds / 60:.1f} min"
    )


def _block(steps: Sequence[Mapping[str, Any]], prefix: str, rounds: Sequence[str], indent: str) -> Iterator[str]:
    """Yield the lines of the steps right below ``prefix``, each followed by those inside it."""
    here = ".".join(rounds)
    for step in steps:
        if (step["iteration"] or "") != here or not step["path"].startswith(prefix):
            continue
        if "/" in step["path"][len(prefix) :]:
            continue
        yield f"{indent}{_line(step)}"
        inside = [one for one in steps if one["path"].startswith(f"{step['path']}/")]
        yield from _inside(step, inside, rounds, f"{indent}  ")


def _inside(
    step: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], rounds: Sequence[str], indent: str
) -> Iterator[str]:
    names = dict.fromkeys(one["path"][len(step["path"]) + 1 :].split("/")[0] for one in steps)
    for name in names:
        below = f"{step['path']}/{name}/"
        if step["type"] == "loop" and name == "do":
            yield from _rounds([one for one in steps if one["path"].startswith(below)], below, rounds, indent)
        else:
            yield f"{indent}{name}:"
            yield from _block(steps, below, rounds, f"{indent}  ")


def _rounds(steps: Sequence[Mapping[str, Any]], below: str, rounds: Sequence[str], indent: str) -> Iterator[str]:
    depth = len(rounds)
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in steps:
        parts = (one["iteration"] or "").split(".")
        if parts[:depth] == list(rounds) and len(parts) > depth:
            found.setdefault(parts[depth], []).append(one)
    shown = list(found)[-ROUNDS:]
    if len(found) > len(shown):
        yield f"{indent}{len(found) - len(shown)} more rounds before"
    for number in shown:
        yield f"{indent}[{number}]"
        yield from _block(found[number], below, [*rounds, number], f"{indent}  ")


def _line(step: Mapping[str, Any]) -> str:
    words = [f"{MARKS[step['state']]} {step['key']}", step["type"], took(step) if step["state"] != "skipped" else ""]
    if step["attempts"] > 1:
        words.append(f"attempt {step['attempts']}")
    if step["state"] == "waiting" and step["wake_at"]:
        words.append(f"until {step['wake_at']}")
    elif step["state"] == "waiting" and step["reference"]:
        words.append(f"for {WAITED.get(step['type'], step['type'])} {step['reference']}")
    if step["error"]:
        words.append(f"{step['error']['code']}: {_short(step['error']['message'])}")
    elif step["state"] == "succeeded" and step["output"] is not None:
        words.append(f"= {_short(step['output'])}")
    return "  ".join(word for word in words if word)


def _short(value: Any, letters: int = VALUE_LETTERS) -> str:
    text = " ".join((value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).split())
    text = "".join(letter if letter.isprintable() else "�" for letter in text)
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
