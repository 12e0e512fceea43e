"""``nocohost child``: what a node starts to run one handler in. Not for people."""

import os
from pathlib import Path

import click

from nocohost.host.child import run_child


@click.command(hidden=True)
@click.option("--channel", "descriptor", type=int, required=True, help="File descriptor of the socket to the node.")
@click.option("--parent", type=int, required=True, help="Process id of the node.")
@click.option("--scratch", type=click.Path(path_type=Path), help="Folder for its temporary files.")
def child(descriptor: int, parent: int, scratch: Path | None) -> None:
    """Run work orders of the node that started this process."""
    os.environ["WORKER_MODE"] = "-"  # nothing of nocohost reads it again, but what a handler starts may
    if scratch is not None:
        os.environ["TMPDIR"] = str(scratch)
    run_child(descriptor, parent)
