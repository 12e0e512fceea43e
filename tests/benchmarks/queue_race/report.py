"""What comes out: a JSON file with everything, a table for people."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from queue_race.figures import Figure, Figures


def machine() -> dict[str, Any]:
    """Return what the numbers depend on and nobody can see later."""
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load at start": round(os.getloadavg()[0], 2),
    }


def write_json(file: Path, facts: Mapping[str, Any], figures: Figures) -> None:
    """Write everything."""
    told = {who: {name: figure.as_json() for name, figure in mine.items()} for who, mine in figures.items()}
    file.write_text(json.dumps({**facts, "figures": told}, indent=2) + "\n")


def table(figures: Figures, missing: Mapping[str, str]) -> str:
    """Return a Markdown table: a row for each number, a column for each contestant."""
    who = list(figures)
    names = list(dict.fromkeys(name for mine in figures.values() for name in mine))
    lines = [f"| | {' | '.join(who)} |", f"|---|{'---:|' * len(who)}"]
    for name in names:
        unit = next(mine[name].unit for mine in figures.values() if name in mine)
        cells = [_cell(figures[one].get(name)) for one in who]
        lines.append(f"| {name}, {unit} | {' | '.join(cells)} |")
    return "\n".join([*lines, *_notes(figures), *(f"\n- {one} is missing: {why}" for one, why in missing.items())])


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    if figure.median is None:
        return figure.note.partition(":")[0]
    spread = f" ({_short(min(figure.runs))} to {_short(max(figure.runs))})" if len(figure.runs) > 1 else ""
    return f"{_short(figure.median)}{spread}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _notes(figures: Figures) -> Sequence[str]:
    noted = [(who, name, figure.note) for who, mine in figures.items() for name, figure in mine.items() if figure.note]
    return [f"\n- {who}, {name}: {note}" for who, name, note in noted]
