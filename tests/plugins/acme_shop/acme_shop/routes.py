"""Orders over HTTP; loaded only on nodes that serve requests."""

from decimal import Decimal

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import insert, select

from acme_shop.tables import invoices, orders
from nocohost import APP, App, Route, hookimpl, route


class NewOrder(BaseModel):
    """The body of ``POST /shop/orders``."""

    customer: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$", description="PostgreSQL keeps no NUL")
    net: Decimal = Field(gt=0, max_digits=12, decimal_places=2)


async def place_order(request: web.Request) -> web.Response:
    """Store the order and enqueue its invoice in one transaction: both are there, or neither."""
    try:
        new = NewOrder.model_validate(await request.json())
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise web.HTTPUnprocessableEntity(text="; ".join(faults)) from error
    app = request.app[APP]
    async with app.database.begin() as connection:
        order_id = await connection.scalar(insert(orders).values(new.model_dump()).returning(orders.c.id))
        job = await app.queue.enqueue("shop:invoice", {"order": order_id}, connection=connection)
    told = {"order": order_id, "job": job.id, "warnings": list(job.warnings)}
    return web.json_response(told, status=202)


async def show_invoice(request: web.Request) -> web.Response:
    """Answer with the invoice of one order, or 404 while there is none."""
    query = select(invoices).where(invoices.c.order_id == int(request.match_info["order"]))
    async with request.app[APP].database.connect() as connection:
        row = (await connection.execute(query)).mappings().first()
    if row is None:
        raise web.HTTPNotFound(text="no invoice yet")
    return web.json_response(
        {
            "invoice": row["id"],
            "order": row["order_id"],
            "total": str(row["total"]),
            "currency": row["currency"],
            "node": row["node"],
        }
    )


@hookimpl
def serve_requests(app: App) -> list[Route]:
    """Offer the shop's routes."""
    return [
        route("POST", "/shop/orders", place_order, permission="shop.order"),
        route("GET", r"/shop/orders/{order:\d{1,9}}/invoice", show_invoice, permission="shop.read"),
    ]
