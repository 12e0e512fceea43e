"""The README's first command, from an empty folder to an invoice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_an_order_becomes_an_invoice_by_way_of_three_processes(tmp_path):
    command = [sys.executable, str(ROOT / "docs" / "first_order.py"), "--folder", str(tmp_path)]
    environ = os.environ | {"PIP_NO_COMPILE": "1"}  # most of what it installs is never imported
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "order 1 became invoice 1: 143.40 EUR" in done.stdout
    assert "led by workflow-process-2, made by async-task-process-shop-3" in done.stdout
    assert done.stdout.count("the warehouse is told") == 1
