"""The two business tables of the bench."""

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text

metadata = MetaData()

orders = Table("chaos_orders", metadata, Column("op", Text, primary_key=True))
"""Written in one transaction with a job of ``chaos:order``: both are there, or neither."""

effects = Table(
    "chaos_effects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job", Text, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("child", Text, nullable=False),
)
"""Written by ``chaos:relay`` in ``job.transaction()``, with the child job: never twice, since the claim is checked."""
