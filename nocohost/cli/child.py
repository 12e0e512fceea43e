"""``nocohost child``: what a node starts to run one handler in. Not for people."""

import os

import click

from nocohost.host.child import run_child


@click.command(hidden=True)
@click.option("--channel", "descriptor", type=int, required=True, help="File descriptor of the socket to the node.")
@click.option("--parent", type=int, required=True, help="Process id of the node.")
def child(descriptor: int, parent: int) -> None:
    """Run work orders of the node that started this process."""
    os.environ["WORKER_MODE"] = "-"  # nothing of nocohost reads it again, but what a handler starts may
    run_child(descriptor, parent)
