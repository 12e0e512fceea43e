"""Stored files, and the chunks of those whose bytes are in the database."""

import sqlalchemy as sa
from alembic import op

from nocohost.store.types import Instant

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create both tables; PostgreSQL keeps chunks as they are, for most files are compressed already."""
    op.create_table(
        "nocohost_files",
        sa.Column("id", sa.Uuid(as_uuid=False), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("sha256", sa.Text),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("expires_at", Instant),
    )
    expires = sa.text("expires_at IS NOT NULL")
    op.create_index(
        "nocohost_files_expires", "nocohost_files", ["expires_at"], postgresql_where=expires, sqlite_where=expires
    )
    op.create_table(
        "nocohost_chunks",
        sa.Column("file_id", sa.Uuid(as_uuid=False), sa.ForeignKey("nocohost_files.id"), primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE nocohost_chunks ALTER COLUMN data SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Drop them."""
    op.drop_table("nocohost_chunks")
    op.drop_table("nocohost_files")
