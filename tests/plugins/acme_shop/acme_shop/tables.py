"""The tables of the shop; ``migrations/`` creates them."""

from sqlalchemy import (
    Boolean,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    false,
    func,
)

metadata = MetaData()

customers = Table(
    "shop_customers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("email", String(200)),
    Column("is_business", Boolean, nullable=False, server_default=false()),
    Column("credit", Numeric(12, 2)),
    Column("since", Date),
)
orders = Table(
    "shop_orders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("customer", Text, nullable=False),
    Column("net", Numeric(12, 2), nullable=False),
    Column("ordered_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("customer_id", Integer, ForeignKey("shop_customers.id"), comment="null for a customer without an account"),
    Index("shop_orders_ordered", "ordered_at", "id"),
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
