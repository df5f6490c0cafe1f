"""Dependencies: tasks that wait until others have ended."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序结束一个任务时不会放行等它的：漏下的由 releaser 找到

UP = (
    "ALTER TABLE taskmill.tasks VALIDATE CONSTRAINT tasks_state_check",  # 0015 换的：要在另一个事务里验
    # 有别的任务等着它：结算时据此才去看
    "ALTER TABLE taskmill.tasks ADD COLUMN followed BOOLEAN",
    # 一行：还等着一个。armed：那一个已经知道有人等它
    """
    CREATE TABLE taskmill.task_dependencies (
        child_id UUID NOT NULL,
        parent_id UUID NOT NULL,
        on_failure TEXT NOT NULL,
        armed BOOLEAN NOT NULL,
        CONSTRAINT task_dependencies_pkey PRIMARY KEY (child_id, parent_id),
        CONSTRAINT task_dependencies_on_failure_check CHECK (on_failure in ('cancel', 'run'))
    )
    """,
    """
    CREATE INDEX task_dependencies_parent ON taskmill.task_dependencies (parent_id, child_id)
    """,
    """
    CREATE INDEX task_dependencies_fresh ON taskmill.task_dependencies (child_id) WHERE not armed
    """,
    # 结束了、而等它的太多，不在结算里放行的
    """
    CREATE TABLE taskmill.ended_parents (
        id UUID NOT NULL,
        state TEXT NOT NULL,
        CONSTRAINT ended_parents_pkey PRIMARY KEY (id)
    )
    """,
)
DOWN = (
    "UPDATE taskmill.tasks SET state = 'scheduled' WHERE state = 'blocked' AND sequence_key IS NULL",
    "DROP TABLE taskmill.ended_parents",
    "DROP TABLE taskmill.task_dependencies",
    "ALTER TABLE taskmill.tasks DROP COLUMN followed",
)


def upgrade() -> None:
    """Add the flag and the tables."""
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    """Drop them; what waited for others runs once it is due."""
    for statement in DOWN:
        op.execute(statement)
