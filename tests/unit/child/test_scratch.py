"""Folders for temporary files of children: they go with their child, their node, or when another node starts."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nocohost.child.scratch import PREFIX, Scratch, sweep_scratch

NODE = """
import sys, time
from nocohost.child.scratch import Scratch

folder = Scratch().take()
(folder / "rows").write_text("half a workbook")
print(folder, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def node(temporary: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """Run a process that has a folder with a file in it, and kill it at the end of the block if it lives."""
    command = [sys.executable, "-c", NODE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"TMPDIR": str(temporary)}) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_each_child_gets_a_folder_and_the_node_removes_all(temporary):
    scratch = Scratch()
    assert list(temporary.iterdir()) == [], "nothing is made before it is wanted"
    one, other = scratch.take(), scratch.take()
    assert one is not None
    assert other is not None
    assert one != other
    (one / "rows").write_text("left behind")
    assert [folder.name.startswith(PREFIX) for folder in temporary.iterdir()] == [True]
    scratch.close()
    assert list(temporary.iterdir()) == []
    scratch.close()


def test_what_a_killed_node_has_left_is_swept_and_a_live_node_keeps_its_own(temporary):
    mine = Scratch()
    own = mine.take()
    assert own is not None
    with node(temporary) as (alive, kept), node(temporary) as (dead, left):
        assert (left / "rows").exists()
        assert sweep_scratch() == 0
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        assert (left / "rows").exists(), "a killed process clears up nothing"
        assert sweep_scratch() == 1
        assert not left.parent.exists()
        assert (kept / "rows").exists()
        assert alive.poll() is None
    assert own.is_dir()
    mine.close()


def test_nothing_is_swept_but_folders_of_nodes(temporary):
    target = temporary / "elsewhere"
    target.mkdir()
    (temporary / f"{PREFIX}link").symlink_to(target)
    (temporary / f"{PREFIX}file").write_text("no folder")
    assert sweep_scratch() == 0
    assert target.is_dir()


def test_a_folder_that_was_cleared_away_is_made_again(temporary):
    scratch = Scratch()
    first = scratch.take()
    assert first is not None
    first.rmdir()
    first.parent.rmdir()
    again = scratch.take()
    assert again is not None
    assert again.is_dir()
    scratch.close()
    assert list(temporary.iterdir()) == []


def test_where_no_folder_can_be_made_children_go_without(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/nowhere/at/all")
    assert Scratch().take() is None
    assert sweep_scratch() == 0
