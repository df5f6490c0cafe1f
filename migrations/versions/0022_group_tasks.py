"""The tasks of a group of failures are found by its fingerprint, the newest first."""

from __future__ import annotations

from alembic import op

from taskmill.stores.schema import indexes

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序不用这个索引


def upgrade() -> None:
    """Build the index while the programs go on; attempts that are nobody's failure are not in it."""
    indexes.build(
        "task_attempts_group",
        "ON taskmill.task_attempts (fingerprint, finished_at) WHERE fingerprint is not null",
    )


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP INDEX taskmill.task_attempts_group")
