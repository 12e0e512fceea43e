"""``nocohost shop ...``; loaded only when it is called."""

import click
from sqlalchemy import func, select

from acme_shop.tables import invoices, orders
from nocohost import App, pass_app


@click.group()
def shop() -> None:
    """Look at the shop's orders and invoices."""


@shop.command()
@pass_app
async def report(app: App) -> None:
    """Print how many orders there are, and how many have their invoice."""
    async with app.database.connect() as connection:
        ordered = await connection.scalar(select(func.count()).select_from(orders))
        invoiced, total = (
            await connection.execute(select(func.count(), func.sum(invoices.c.total)).select_from(invoices))
        ).one()
    click.echo(f"{ordered} orders, {invoiced} invoices, {total or 0} in total")
