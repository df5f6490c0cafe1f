"""Lists of tasks are found by every filter: tags, schedules and times of the history, tags, schedules, queues and kinds of live tasks."""

from __future__ import annotations

from alembic import op

from taskmill.stores.schema import indexes

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序不用这些索引

# 没有标签、不来自定时的任务不在其中，不为它们付出什么；按时间的几乎不花什么，等着的、结束了的都按先后排在表里
TAGS = "USING gin (tags) WITH (fastupdate = off) WHERE tags is not null"
SCHEDULE = "(schedule_id, id) WHERE schedule_id is not null"
TIMES = "USING brin ({}) WITH (pages_per_range = 32, autosummarize = on)"
HISTORY = {
    "task_history_tags": TAGS,
    "task_history_schedule": SCHEDULE,
    "task_history_times": TIMES.format("created_at, started_at, finished_at"),
}
# 运行中的不在其中：领取的时候什么也不多写
LIVE = {
    "tasks_tags": TAGS,
    "tasks_schedule": SCHEDULE,
    "tasks_times": TIMES.format("created_at"),
    "tasks_blocked": "(id) WHERE state = 'blocked'",
    "tasks_started": "(started_at) WHERE started_at is not null and state <> 'running'",
    "tasks_queue": "(queue, id) WHERE state <> 'running'",
    "tasks_kind": "(kind, id) WHERE state <> 'running'",
}


def upgrade() -> None:
    """Build the indexes while the programs go on."""
    for name, definition in HISTORY.items():
        indexes.build_on_history(name, definition)
    for name, definition in LIVE.items():
        indexes.build(name, f"ON taskmill.tasks {definition}")


def downgrade() -> None:
    """Drop them."""
    for name in (*LIVE, *HISTORY):
        op.execute(f"DROP INDEX taskmill.{name}")
