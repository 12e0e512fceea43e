"""The heap of a node's process: tried in a process of its own, since it is that of the whole process."""

import json
import subprocess
import sys

SCRIPT = """
import gc, json
from nocohost.host.heap import open_heap, settle_heap
before = gc.get_threshold()
open_heap()
opened = gc.get_threshold(), gc.get_freeze_count()
settle_heap()
print(json.dumps([before, *opened, gc.get_freeze_count(), gc.isenabled()]))
"""


def test_what_a_node_has_loaded_is_not_searched_again() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    before, opened, frozen_at_first, frozen, is_enabled = json.loads(done.stdout)
    assert opened[0] > before[0]
    assert opened[1:] == before[1:]
    assert frozen_at_first == 0
    assert frozen > 1_000
    assert is_enabled, "what comes later is still searched"
