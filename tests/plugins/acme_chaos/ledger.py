"""What really happened, told outside the database: one file per node process, one write per line.

A line that was written survives the death of its process, for it belongs to the kernel by then. Both clocks are asked
past the Python functions that a run may have made lie.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

IS_CHILD = "child" in sys.orig_argv
NODE_PID = os.getppid() if IS_CHILD else os.getpid()
"""The process of the node: a child works in its name, and may die before it."""


def run_folder() -> Path:
    """Return the folder of this run."""
    return Path(os.environ["CHAOS_FOLDER"])


def note(what: str, record: str = "ledger", **fields: Any) -> None:
    """Append one line to this process's file of ``record``: ``ledger`` for effects, ``client`` for enqueues."""
    name = os.environ.get("NOCOHOST_NODE_NAME", "unnamed")
    told = {
        "t": time.clock_gettime(time.CLOCK_MONOTONIC),
        "w": time.clock_gettime(time.CLOCK_REALTIME),
        "what": what,
        "name": name,
        "pid": NODE_PID,
        **({"child": os.getpid()} if IS_CHILD else {}),
        **fields,
    }
    file = run_folder() / record / f"{name}-{NODE_PID}.jsonl"
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (json.dumps(told) + "\n").encode())
    finally:
        os.close(descriptor)
