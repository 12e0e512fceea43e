"""Make invoices in the background; loaded only on nodes that serve ``shop:invoice``."""

from decimal import ROUND_HALF_UP, Decimal

from sqlalchemy import insert, select

from acme_shop.declarations import ShopSettings
from acme_shop.tables import invoices, orders
from nocohost import App, DeadLetter, Job, Service, hookimpl

CENT = Decimal("0.01")


async def invoice(job: Job, app: App) -> DeadLetter | dict[str, int] | None:
    """Make the invoice of one order, once, however often the job is attempted."""
    settings = app.settings(ShopSettings)
    order_id = job.payload.order
    async with job.transaction() as connection:
        order = (await connection.execute(select(orders).where(orders.c.id == order_id))).first()
        if order is None:
            return DeadLetter(f"there is no order {order_id}")
        done = await connection.scalar(select(invoices.c.id).where(invoices.c.order_id == order_id))
        if done is not None:
            return {"invoice": done}
        net = order.net + sum(
            (surcharge for _, surcharge in app.hooks.call("invoice_surcharge", customer=order.customer, net=order.net)),
            Decimal(0),
        )
        total = (net * (1 + settings.tax_percent / 100)).quantize(CENT, ROUND_HALF_UP)
        values = {"order_id": order_id, "total": total, "currency": settings.currency, "node": app.node.name}
        number = await connection.scalar(insert(invoices).values(values).returning(invoices.c.id))
    app.log.info("invoice.made", order=order_id, invoice=number, total=str(total))
    return {"invoice": int(number)}


@hookimpl
def register_services(app: App) -> list[Service]:
    """Offer ``shop:invoice``."""
    return [Service("shop:invoice", invoice, concurrency=4, timeout_seconds=60)]
