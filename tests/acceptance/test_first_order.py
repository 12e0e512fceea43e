"""The README's first command, from an empty folder to an invoice."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_first_order_ends_with_an_invoice_made_by_another_process(tmp_path):
    command = [sys.executable, str(ROOT / "docs" / "first_order.py"), "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "became invoice 1: 119.00 EUR" in done.stdout
    assert "made by the process 'shop-invoice-2'" in done.stdout
