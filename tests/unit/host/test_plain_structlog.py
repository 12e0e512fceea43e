"""What a node imports for its log: structlog, and none of the printers that structlog takes along."""

import subprocess
import sys
from pathlib import Path

from structlog.contextvars import STRUCTLOG_KEY_PREFIX

from nocohost.web.request import LOGGED_ID

ASKED = """
import sys
import nocohost.host.log, nocohost.web.request
assert "structlog.dev" in sys.modules
assert "rich" not in sys.modules, "imported for the log"
import rich
assert rich.IS_OURS, "it can be had afterwards"
"""


def test_printers_that_are_installed_stay_out_of_a_node(tmp_path: Path) -> None:
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("IS_OURS = True\n")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{ASKED}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_the_id_of_a_request_is_logged_under_the_name_that_structlog_reads() -> None:
    assert f"{STRUCTLOG_KEY_PREFIX}request_id" == LOGGED_ID.name
