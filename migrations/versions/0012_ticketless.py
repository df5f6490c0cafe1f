"""The index of rows without a ticket that `tasks_ticketless` has replaced."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0013"
branch_labels = None
depends_on = None
phase = "contract"  # 旧程序的 stager 还在用它。收缩的排在扩展的之后：否则新程序等着扩展，扩展等着旧程序走光


def upgrade() -> None:
    """Drop it."""
    # 在迁移的事务里不能 CONCURRENTLY；删索引只要一瞬，等锁的上限由执行迁移的连接设
    op.execute("-- squawk-ignore require-concurrent-index-deletion\nDROP INDEX taskmill.tasks_unticketed")


def downgrade() -> None:
    """Make it again."""
    op.execute(
        "CREATE INDEX tasks_unticketed ON taskmill.tasks (queue, priority, id) WHERE state = 'available' and ticket_at is null"
    )
