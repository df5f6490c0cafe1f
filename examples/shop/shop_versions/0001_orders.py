"""The table of orders."""

from __future__ import annotations

from alembic import op

revision = "shop_0001"
down_revision = None
branch_labels = None
depends_on = None
phase = "expand"  # older programs go on working: it only adds


def upgrade() -> None:
    """Make the table."""
    op.execute("CREATE SCHEMA IF NOT EXISTS shop")
    op.execute("""
        CREATE TABLE shop.orders (
            number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            email TEXT NOT NULL,
            item TEXT NOT NULL,
            quantity INT NOT NULL,
            mail_id UUID
        )
    """)


def downgrade() -> None:
    """Remove it."""
    op.execute("DROP SCHEMA shop CASCADE")
