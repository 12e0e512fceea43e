"""Customers, and whose an order is."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table and the reference to it."""
    op.create_table(
        "shop_customers",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("email", sa.String(200)),
        sa.Column("is_business", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("credit", sa.Numeric(12, 2)),
        sa.Column("since", sa.Date),
    )
    # In one statement that SQLite understands, too.
    op.execute("ALTER TABLE shop_orders ADD COLUMN customer_id INTEGER REFERENCES shop_customers (id)")
    op.create_index("shop_orders_ordered", "shop_orders", ["ordered_at", "id"])


def downgrade() -> None:
    """Take everything back."""
    op.drop_index("shop_orders_ordered", "shop_orders")
    with op.batch_alter_table("shop_orders") as orders:
        orders.drop_column("customer_id")
    op.drop_table("shop_customers")
