"""How fast nocohost starts: the command, a node, and a node beside fifty heavy plugins. See README.md."""

import argparse
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import heavy_plugins
from stopwatch import Comparison, compare, free_port, plain_environment, seconds_to_end, seconds_to_ready, show

PLUGINS = 50
NOCOHOST = str(Path(sysconfig.get_path("scripts")) / "nocohost")


def main() -> None:
    """Measure, print, and exit 3 when a ratio is above its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="timed runs of each side")
    parser.add_argument("--only", default="", help="comparisons whose name holds this word")
    parser.add_argument("--json", type=Path, help="write the numbers to this file, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = [measure(arguments.runs) for name, measure in comparisons(Path(folder)) if arguments.only in name]
    show(found, arguments.json)
    sys.exit(0 if all(item.holds for item in found) else 3)


def comparisons(folder: Path) -> Iterator[tuple[str, Callable[[int], Comparison]]]:
    """Yield every comparison by its name, as something to call with the number of runs."""
    for option, limit in (("--version", 6.0), ("--help", 10.0)):
        yield f"nocohost {option}", lambda runs, option=option, limit=limit: command(option, limit, runs)
    yield "a node, exec to ready", lambda runs: node_against_bare_app(folder, runs)
    yield f"a ! node beside {PLUGINS} heavy plugins", lambda runs: node_beside_plugins(folder, runs)


def command(option: str, limit: float, runs: int) -> Comparison:
    """Time ``nocohost OPTION`` against an interpreter that does nothing."""
    environment = plain_environment()
    sides = {
        f"nocohost {option}": lambda: seconds_to_end([NOCOHOST, option], environment),
        "python -c pass": lambda: seconds_to_end([sys.executable, "-c", "pass"], environment),
    }
    return compare(limit, sides, runs)


def node_against_bare_app(folder: Path, runs: int) -> Comparison:
    """Time a node on a current schema against a bare application on a file of its own."""
    bare = [sys.executable, str(Path(__file__).with_name("bare_app.py"))]

    def time_bare_app() -> float:
        port = free_port()
        return seconds_to_ready([*bare, str(port), str(folder / "bare.sqlite")], plain_environment(), port)

    sides = {"a node, exec to ready": node_timer(folder / "node"), "bare aiohttp + SQLAlchemy": time_bare_app}
    return compare(2.5, sides, runs)


def node_beside_plugins(folder: Path, runs: int) -> Comparison:
    """Time a node that serves requests alone, with and without many heavy services installed."""
    site = heavy_plugins.install(PLUGINS, folder)
    more = {"WORKER_MODE": "!"}
    sides = {
        f"a ! node beside {PLUGINS} heavy plugins": node_timer(folder / "many", PYTHONPATH=str(site), **more),
        "a ! node without them": node_timer(folder / "none", **more),
    }
    return compare(1.15, sides, runs)


def node_timer(data: Path, **more: str) -> Callable[[], float]:
    """Upgrade the database in ``data`` and return what times one node on it from exec to ready."""
    environment = plain_environment(NOCOHOST_DATA_DIR=str(data), NOCOHOST_HTTP__PORT="0", **more)
    upgrade = [sys.executable, "-m", "nocohost", "db", "upgrade"]
    subprocess.run(upgrade, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)

    def time_node() -> float:
        port = free_port()
        command = [sys.executable, "-m", "nocohost", "run"]
        return seconds_to_ready(command, environment | {"NOCOHOST_ADMIN__PORT": str(port)}, port)

    return time_node


if __name__ == "__main__":
    main()
