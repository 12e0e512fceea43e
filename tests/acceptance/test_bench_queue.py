"""The queue benchmark measures: one short run with a real node on SQLite."""

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent / "benchmarks" / "bench_queue.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(BENCH), *arguments], capture_output=True, text=True)


def test_a_quick_run_writes_what_it_measured_and_leaves_no_file_behind(tmp_path):
    file, cache = tmp_path / "told.json", tmp_path / "cache"
    done = run(
        *("--contestants", "nocohost-sqlite", "--measures", "start", "--quick", "--here"),
        *("--json", str(file), "--cache", str(cache)),
    )
    assert done.returncode in (0, 3), done.stderr
    told = json.loads(file.read_text())
    mine = told["figures"]["nocohost-sqlite"]
    assert mine["start"]["median"] > 0.1
    assert mine["memory"]["median"] > 20
    assert told["contestants"]["nocohost-sqlite"]["settings"]["WORKER_MODE"] == "*"
    assert "| memory, MiB |" in done.stdout
    assert not list(cache.glob("run-*"))


def test_an_unknown_name_is_refused_with_the_known_ones():
    done = run("--contestants", "rabbit")
    assert done.returncode == 2
    assert "'rabbit' is none of nocohost," in done.stderr
