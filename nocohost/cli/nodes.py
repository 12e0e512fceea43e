"""``nocohost nodes``: who is in the cluster; make one quiet, let it go on, ask it to stop."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from nocohost.cli.output import json_option, printable, show_json, show_table
from nocohost.cli.store import open_store
from nocohost.cli.verbs import Verbs
from nocohost.node.settings import load_settings
from nocohost.store.census import known_nodes, node_json
from nocohost.store.coverage import glimpse
from nocohost.store.node_orders import find_node, quiet_node, resume_node, stop_node
from nocohost.store.nodes import GONE_STATES, NodeRow, version_skew

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

Order = Callable[["AsyncConnection", str], Awaitable[NodeRow]]
COLUMNS = ("name", "state", "serves", "jobs", "version", "last beat", "admin", "id")


@click.group(cls=Verbs)
def nodes() -> None:
    """List the nodes of the cluster; make one quiet, resume or stop it."""


@nodes.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the nodes that are known, by name; those that left go after a week. Warn of work that no live one serves."""
    rows, unserved = asyncio.run(_list())
    if as_json:
        show_json([node_json(row) for row in rows])
        return
    show_table(COLUMNS, [_cells(row) for row in rows])
    for line in [*version_skew(rows), *unserved]:
        click.echo(printable(f"warning: {line}"), err=True)


@nodes.command()
@click.argument("node", metavar="NODE")
@json_option
def quiet(node: str, as_json: bool) -> None:
    """Let the node claim no more jobs; those it has go on, and it answers requests as before.

    NODE is an id, a name, or the beginning of either, if only one live node fits.
    """
    _show(asyncio.run(_order(node, quiet_node)), "claims no more jobs", as_json=as_json)


@nodes.command()
@click.argument("node", metavar="NODE")
@json_option
def resume(node: str, as_json: bool) -> None:
    """Let a quiet node claim jobs again."""
    _show(asyncio.run(_order(node, resume_node)), "claims jobs again", as_json=as_json)


@nodes.command()
@click.argument("node", metavar="NODE")
@json_option
def stop(node: str, as_json: bool) -> None:
    """Ask the node to drain and to end, as TERM would: it hears of it at its next heartbeat, within 3 s.

    Whatever supervises its process may start it again.
    """
    _show(asyncio.run(_order(node, stop_node)), "drains at its next heartbeat and ends", as_json=as_json)


async def _list() -> tuple[list[NodeRow], list[str]]:
    async with open_store(load_settings(os.environ).settings) as database, database.connect() as connection:
        return await known_nodes(connection), (await glimpse(connection)).lines


async def _order(text: str, order: Order) -> NodeRow:
    async with open_store(load_settings(os.environ).settings) as database, database.begin() as connection:
        return await order(connection, (await find_node(connection, text)).id)


def _show(row: NodeRow, what: str, *, as_json: bool) -> None:
    if as_json:
        show_json(node_json(row))
    else:
        click.echo(printable(f"{row.name} ({row.id}) {what}"))


def _cells(row: NodeRow) -> Sequence[Any]:
    serves = ", ".join(["requests"] * row.requests + list(row.services)) or "nothing"
    state = f"{row.state}, to stop" if row.stop_requested and row.state not in GONE_STATES else row.state
    return (row.name, state, serves, row.running, row.version, node_json(row)["beat_at"], row.address, row.id)
