"""The queue against other libraries' and a raw yardstick, on one machine in one run. See README.md."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from queue_race import ballast, latency, recovery, report, start, throughput
from queue_race.contestants import CONTESTANTS, Contestant
from queue_race.entrant import Entrant
from queue_race.figures import Figures, Reading, collect
from queue_race.processes import FailedError
from queue_race.scale import FULL, QUICK, Scale
from queue_race.store import MissingError
from queue_race.stores import Stores

MEASURES: dict[str, Callable[[Entrant, Scale], list[Reading]]] = {
    "enqueue": throughput.enqueue,
    "drain": throughput.drain,
    "latency": latency.latency,
    "start": start.start,
    "ballast": ballast.ballast,
    "recovery": recovery.recovery,
}
CACHE = Path.home() / ".cache" / "nocohost-queue-race"


def main() -> None:
    """Measure, print the table, write the file."""
    arguments = parse(sys.argv[1:])
    scale = QUICK if arguments.quick else FULL
    figures: Figures = {}
    facts: dict[str, Any] = {"machine": report.machine(), "scale": "quick" if arguments.quick else "full"}
    arguments.cache.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.cache, prefix="run-")))
        stores = stack.enter_context(Stores(arguments.cache, folder))
        entrants, missing = enter(arguments.contestants, stores, arguments.cache, folder)
        try:
            facts |= {"contestants": {entrant.name: entrant.facts() for entrant in entrants}, "stores": stores.facts}
            for name in arguments.measures:
                for number in range(arguments.rounds or scale.rounds):
                    for entrant in entrants:
                        if name in entrant.contestant.measures:
                            collect(figures, entrant.name, measure(name, entrant, scale, number))
        finally:
            for entrant in entrants:
                entrant.leave()
    print(report.table(figures, missing))
    if arguments.json:
        report.write_json(arguments.json, facts | {"missing": missing}, figures)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    known = {contestant.name: contestant for contestant in CONTESTANTS}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--contestants", type=chosen(known), default=list(CONTESTANTS), help=f"of {', '.join(known)}; all if not given"
    )
    parser.add_argument(
        "--measures",
        type=chosen({name: name for name in MEASURES}),
        default=list(MEASURES),
        help=f"of {', '.join(MEASURES)}; all if not given",
    )
    parser.add_argument("--quick", action="store_true", help="one short run of each: a hint, no result")
    parser.add_argument("--rounds", type=int, help="runs of each, of which the median counts")
    parser.add_argument("--json", type=Path, help="write everything to this file, too")
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


def enter(
    contestants: Sequence[Contestant], stores: Stores, cache: Path, folder: Path
) -> tuple[list[Entrant], dict[str, str]]:
    """Return who takes part, and why the others cannot."""
    entrants, missing = [], {}
    for contestant in contestants:
        try:
            entrants.append(Entrant.enter(contestant, stores, cache, folder))
        except (MissingError, FailedError) as error:
            missing[contestant.name] = str(error)
            tell(f"{contestant.name} is missing: {error}")
    return entrants, missing


def measure(name: str, entrant: Entrant, scale: Scale, number: int) -> list[Reading]:
    """Take one run of one measure; a contestant that fails says so in the table."""
    tell(f"{name}, {entrant.name}, run {number + 1}")
    try:
        readings = MEASURES[name](entrant, scale)
    except FailedError as error:
        tell(f"{entrant.name} failed: {error}")
        return [Reading(name, "", None, f"failed: {str(error).splitlines()[0]}")]
    for reading in readings:
        value = "none" if reading.value is None else f"{reading.value:,.4g} {reading.unit}"
        tell(f"  {reading.name}: {value} {reading.note}")
    return readings


def tell(text: str) -> None:
    """Print one line of progress."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
