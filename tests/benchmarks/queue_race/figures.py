"""What a measure gives: a few named numbers from each run, and their medians."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Figure:
    """One number of one contestant, measured a few times."""

    unit: str
    runs: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def median(self) -> float | None:
        """Return the median of the runs, None without any."""
        return median(self.runs) if self.runs else None

    def as_json(self) -> dict[str, object]:
        """Return everything, rounded to what can be told apart."""
        told: dict[str, object] = {"unit": self.unit, "median": _rounded(self.median)}
        told["runs"] = [_rounded(value) for value in self.runs]
        return told | ({"note": self.note} if self.note else {})


@dataclass(frozen=True)
class Reading:
    """One number of one run; ``value`` None says that there is none, and ``note`` why."""

    name: str
    unit: str
    value: float | None
    note: str = ""


Figures = dict[str, dict[str, Figure]]
"""By contestant, then by name."""


def collect(figures: Figures, contestant: str, readings: Sequence[Reading]) -> None:
    """Add the readings of one run."""
    mine = figures.setdefault(contestant, {})
    for reading in readings:
        figure = mine.setdefault(reading.name, Figure(reading.unit))
        if reading.value is not None:
            figure.runs.append(reading.value)
        if reading.note and reading.note not in figure.note:
            figure.note = f"{figure.note}; {reading.note}" if figure.note else reading.note


def median_of(figures: Mapping[str, Mapping[str, Figure]], contestant: str, name: str) -> float | None:
    """Return a median, None when it was not measured."""
    figure = figures.get(contestant, {}).get(name)
    return figure.median if figure else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}") if abs(value) < 1000 else float(round(value))
