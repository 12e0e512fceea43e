"""The tables of the shop; ``migrations/`` creates them."""

from sqlalchemy import Column, DateTime, Integer, MetaData, Numeric, Table, Text, func

metadata = MetaData()

orders = Table(
    "shop_orders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("customer", Text, nullable=False),
    Column("net", Numeric(12, 2), nullable=False),
    Column("ordered_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
invoices = Table(
    "shop_invoices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("order_id", Integer, nullable=False, unique=True, comment="one invoice per order, whatever happens"),
    Column("total", Numeric(12, 2), nullable=False),
    Column("currency", Text, nullable=False),
    Column("node", Text, nullable=False, comment="the node that made it"),
    Column("invoiced_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
