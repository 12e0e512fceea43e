"""Python runs this first in every process of the bench, because its folder stands on PYTHONPATH."""

import os
import sys

if "CHAOS_FOLDER" in os.environ:
    import node_process

    node_process.prepare(os.environ, is_node="run" in sys.orig_argv, is_child="child" in sys.orig_argv)
