"""``nocohost token``: who may use the API of this cluster."""

import asyncio
import os
import re
from collections.abc import Sequence
from typing import Any

import click

from nocohost.api.errors import StoreError
from nocohost.cli.duration import read_duration
from nocohost.cli.output import json_option, printable, show_json, show_table
from nocohost.cli.store import open_store
from nocohost.cli.verbs import Verbs
from nocohost.node.settings import load_settings
from nocohost.store.tokens import NewToken, TokenRow, create_token, list_tokens, revoke_token

DEFAULT_SCOPES = ("read",)
SCOPE = re.compile(r"admin|operate|read|[a-z][a-z0-9_-]*\.(\*|[a-z][a-z0-9_-]*)")


def check_scopes(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> Sequence[str]:
    """Return the scopes, or fail with what one looks like."""
    for value in values:
        if not SCOPE.fullmatch(value):
            raise click.BadParameter(f"{value!r} is no scope; one is admin, operate, read, noun.verb or noun.*")
    return values or DEFAULT_SCOPES


@click.group(cls=Verbs)
def token() -> None:
    """Create, list and revoke API tokens."""


@token.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    metavar="SCOPE",
    multiple=True,
    callback=check_scopes,
    help="What the token may do: admin, operate, read, noun.verb or noun.*; default read. May be given more than once.",
)
@click.option(
    "--expires",
    metavar="DURATION",
    callback=read_duration,
    help="How long it is good for, such as 90d or 12h; default: for ever.",
)
@json_option
def create(name: str, scopes: Sequence[str], expires: int | None, as_json: bool) -> None:
    """Create a token for the principal NAME and print it, this once."""
    made = asyncio.run(_create(name, scopes, expires))
    if as_json:
        show_json(made.as_json())
        return
    until = "for ever" if made.expires_at is None else f"until {made.as_json()['expires_at']}"
    click.echo(printable(f"{name} may {', '.join(made.scopes)}, {until}; the token is not shown again:"), err=True)
    click.echo(made.token)


@token.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the tokens, revoked ones too; never their secret part."""
    rows = [row.as_json() for row in asyncio.run(_list())]
    if as_json:
        show_json(rows)
        return
    columns = ("id", "name", "scopes", "created_at", "expires_at", "revoked_at")
    show_table(columns, [[_text(row[name]) for name in columns] for row in rows])


@token.command()
@click.argument("id_or_name", metavar="ID|NAME")
def revoke(id_or_name: str) -> None:
    """Revoke the token with this id, or that of this principal; every node refuses it within 5 s."""
    asyncio.run(_revoke(id_or_name))
    click.echo(printable(f"revoked {id_or_name}"))


async def _create(name: str, scopes: Sequence[str], expires: int | None) -> NewToken:
    async with open_store(load_settings(os.environ).settings) as database, database.begin() as connection:
        return await create_token(connection, name, scopes, expires)


async def _list() -> list[TokenRow]:
    async with open_store(load_settings(os.environ).settings) as database, database.connect() as connection:
        return await list_tokens(connection)


async def _revoke(id_or_name: str) -> None:
    async with open_store(load_settings(os.environ).settings) as database, database.begin() as connection:
        if not id_or_name.isprintable() or not await revoke_token(connection, id_or_name):
            raise StoreError(f"there is no live token {id_or_name!r}", hint="nocohost token list")


def _text(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, list) else value
