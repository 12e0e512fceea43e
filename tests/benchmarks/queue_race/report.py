"""What comes out: a JSON file with everything, tables for people."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from queue_race.figures import Figure, Figures
from queue_race.targets import Verdict

FROM, TO = "<!-- results -->", "<!-- end of results -->"
ANSWERS = {True: "yes", False: "**no**", None: "not measured"}


def machine() -> dict[str, Any]:
    """Return what the numbers depend on and nobody can see later."""
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load at start": round(os.getloadavg()[0], 2),
    }


def write_json(file: Path, facts: Mapping[str, Any], figures: Figures, verdicts: Sequence[Verdict]) -> None:
    """Write everything."""
    numbers = {who: {name: figure.as_json() for name, figure in mine.items()} for who, mine in figures.items()}
    targets = [
        {"contestant": one.contestant, "target": one.target.text, "limit": one.target.limit}
        | {"at most": one.target.at_most, "value": one.value, "holds": one.holds}
        for one in verdicts
    ]
    file.write_text(json.dumps({**facts, "figures": numbers, "targets": targets}, indent=2) + "\n")


def figures_table(figures: Figures, missing: Mapping[str, str]) -> str:
    """Return a Markdown table, a row for each number and a column for each contestant, and the notes to it."""
    who = list(figures)
    names = dict.fromkeys(name for mine in figures.values() for name in mine)
    lines = [f"| | {' | '.join(who)} |", f"|---|{'---:|' * len(who)}"]
    for name in names:
        unit = next(mine[name].unit for mine in figures.values() if name in mine)
        cells = [_cell(figures[one].get(name)) for one in who]
        lines.append(f"| {name}, {unit} | {' | '.join(cells)} |")
    notes = [f"- {one}, {name}: {figure.note}" for one in who for name, figure in figures[one].items() if figure.note]
    notes += [f"- {one} is missing: {why.splitlines()[0]}" for one, why in missing.items()]
    return "\n".join([*lines, "", *notes] if notes else lines)


def targets_table(verdicts: Sequence[Verdict]) -> str:
    """Return a Markdown table of what must be reached and what was."""
    lines = ["| contestant | must reach | bound | measured | reached |", "|---|---|---:|---:|---|"]
    for one in verdicts:
        sign = "at most" if one.target.at_most else "at least"
        value = "-" if one.value is None else _short(one.value)
        bound = f"{sign} {one.target.limit:g}"
        lines.append(f"| {one.contestant} | {one.target.text} | {bound} | {value} | {ANSWERS[one.holds]} |")
    return "\n".join(lines)


def conditions(facts: Mapping[str, Any]) -> str:
    """Return what the numbers were measured on, in one paragraph."""
    machine, stores = facts["machine"], facts["stores"]
    versions = {name: one for who in facts["contestants"].values() for name, one in who["versions"].items()}
    told = [f"{machine['cores']} cores, {machine['system']}, Python {machine['python']}"]
    told += [", ".join(f"{name} {value}" for name, value in store.items()) for store in stores.values()]
    told.append(", ".join(f"{name} {version}" for name, version in sorted(versions.items())))
    return f"A run at {facts['scale']} scale, load {machine['load at start']} at its start. " + "; ".join(told) + "."


def fill(page: Path, text: str) -> None:
    """Put the text between the two marks of the page."""
    before, mark, rest = page.read_text().partition(FROM)
    _, end, after = rest.partition(TO)
    if not mark or not end:
        raise ValueError(f"{page} has no {FROM} and {TO}")
    page.write_text(f"{before}{FROM}\n\n{text}\n\n{TO}{after}")


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    if figure.median is None:
        return "-"
    spread = f" ({_short(min(figure.runs))} to {_short(max(figure.runs))})" if len(figure.runs) > 1 else ""
    return f"{_short(figure.median)}{spread}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
