"""The queue against other libraries' and a raw yardstick, on one machine in one run. See README.md."""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from queue_race import ballast, latency, recovery, report, start, throughput
from queue_race.contestants import CONTESTANTS
from queue_race.entrant import Entrant
from queue_race.figures import Figures, Reading, collect
from queue_race.processes import FailedError
from queue_race.scale import FULL, QUICK, Scale
from queue_race.store import MissingError
from queue_race.stores import Stores
from queue_race.targets import judge


@dataclass(frozen=True)
class Measure:
    """One thing to measure; ``once`` when one run of it holds many of its own."""

    name: str
    run: Callable[[Entrant, Scale], list[Reading]]
    once: bool = False


MEASURES = (
    Measure("enqueue", throughput.enqueue),
    Measure("drain", throughput.drain),
    Measure("latency", latency.latency),
    Measure("start", start.start),
    Measure("ballast", ballast.ballast),
    Measure("recovery", recovery.recovery, once=True),
)
CACHE = Path.home() / ".cache" / "nocohost-queue-race"


def main() -> None:
    """Measure, print the tables, write the file; exit 3 when something measured is not what it must be."""
    arguments = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # what it has started ends with it
    scale = QUICK if arguments.quick else FULL
    rounds = arguments.rounds or scale.rounds
    facts: dict[str, Any] = {"scale": "quick" if arguments.quick else "full", "machine": report.machine()}
    arguments.cache.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.cache, prefix="run-")))
        stores = stack.enter_context(Stores(arguments.cache, folder))
        entrants, missing = enter(arguments, stores, folder)
        for entrant in entrants:
            stack.callback(entrant.leave)
        facts |= {"stores": stores.facts, "missing": missing}
        facts["contestants"] = {entrant.name: entrant.facts() for entrant in entrants}
        figures = race(entrants, arguments.measures, scale, rounds)
    verdicts = judge(figures)
    tables = "\n\n".join([report.figures_table(figures, missing), report.targets_table(verdicts)])
    print(tables)
    if arguments.page:
        report.fill(arguments.page, f"{report.conditions(facts)}\n\n{tables}")
    if arguments.json:
        report.write_json(arguments.json, facts, figures, verdicts)
    sys.exit(0 if all(one.holds is not False for one in verdicts) else 3)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for option, everything in (("--contestants", CONTESTANTS), ("--measures", MEASURES)):
        names = {one.name: one for one in everything}
        told = f"comma-separated, of {', '.join(names)}; all if not given"
        parser.add_argument(option, type=chosen(names), default=everything, help=told)
    parser.add_argument("--quick", action="store_true", help="one short run of each: a hint, no result")
    parser.add_argument("--rounds", type=int, help="runs of each, of which the median counts")
    parser.add_argument("--here", action="store_true", help="nocohost in this Python, not in an environment of its own")
    parser.add_argument("--json", type=Path, help="write everything to this file, too")
    parser.add_argument("--page", type=Path, help="put the tables between the marks of this Markdown page, too")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of virtual environments and data")
    return parser.parse_args(words)


def chosen(known: dict[str, Any]) -> Callable[[str], list[Any]]:
    """Return what reads a comma-separated list of names."""

    def read(text: str) -> list[Any]:
        names = [name.strip() for name in text.split(",")]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return [known[name] for name in names]

    return read


def enter(arguments: argparse.Namespace, stores: Stores, folder: Path) -> tuple[list[Entrant], dict[str, str]]:
    """Return who takes part, and why the others cannot."""
    entrants, missing = [], {}
    for contestant in arguments.contestants:
        try:
            entrants.append(Entrant.enter(contestant, stores, arguments.cache, folder, is_here=arguments.here))
        except (MissingError, FailedError) as error:
            missing[contestant.name] = str(error)
            tell(f"{contestant.name} is missing: {error}")
    return entrants, missing


def race(entrants: Sequence[Entrant], measures: Sequence[Measure], scale: Scale, rounds: int) -> Figures:
    """Take every measure in rounds, all contestants in each, so that a busy minute hits them alike."""
    figures: Figures = {entrant.name: {} for entrant in entrants}
    for measure in measures:
        for number in range(1 if measure.once else rounds):
            for entrant in entrants if number % 2 == 0 else reversed(entrants):
                if measure.name in entrant.contestant.measures:
                    tell(f"{measure.name}, {entrant.name}, run {number + 1}")
                    collect(figures, entrant.name, take(measure, entrant, scale))
    return figures


def take(measure: Measure, entrant: Entrant, scale: Scale) -> list[Reading]:
    """Take one run of one measure; a contestant that fails says so in the notes."""
    try:
        readings = measure.run(entrant, scale)
    except FailedError as error:
        tell(f"{entrant.name} failed: {error}")
        return [Reading(measure.name, "failed", None, f"failed: {str(error).splitlines()[0]}")]
    for reading in readings:
        value = "none" if reading.value is None else f"{reading.value:,.4g} {reading.unit}"
        tell(f"  {reading.name}: {value} {reading.note}")
    return readings


def tell(text: str) -> None:
    """Print one line of progress."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
