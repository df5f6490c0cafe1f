"""The table of notes."""

from __future__ import annotations

from alembic import op

revision = "notes_0001"
down_revision = None
branch_labels = None
depends_on = None
phase = "expand"  # older programs go on working: it only adds


def upgrade() -> None:
    """Make the table."""
    op.execute("CREATE SCHEMA IF NOT EXISTS notes")
    op.execute("CREATE TABLE notes.notes (task_id UUID PRIMARY KEY, text TEXT NOT NULL)")


def downgrade() -> None:
    """Remove it."""
    op.execute("DROP SCHEMA notes CASCADE")
