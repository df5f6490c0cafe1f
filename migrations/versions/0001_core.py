"""Core tables: tasks and their history, queues, kinds, schedules, workers, rollups, keys."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = ("core",)
depends_on = None

UP = (
    """
    CREATE TABLE taskmill.api_keys (
        id UUID NOT NULL,
        name TEXT NOT NULL,
        prefix TEXT NOT NULL,
        hash BYTEA NOT NULL,
        scopes TEXT[] NOT NULL,
        expires_at timestamptz,
        revoked_at timestamptz,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT api_keys_pkey PRIMARY KEY (id)
    )
    """,
    """
    CREATE UNIQUE INDEX api_keys_hash ON taskmill.api_keys (hash)
    """,
    """
    CREATE TABLE taskmill.kinds (
        kind TEXT NOT NULL,
        version INTEGER NOT NULL,
        plugin TEXT NOT NULL,
        plugin_version TEXT NOT NULL,
        summary TEXT NOT NULL,
        queue TEXT NOT NULL,
        priority SMALLINT NOT NULL,
        max_attempts INTEGER NOT NULL,
        timeout_ms INTEGER NOT NULL,
        executor TEXT NOT NULL,
        args_schema JSONB NOT NULL,
        result_schema JSONB,
        seen_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT kinds_pkey PRIMARY KEY (kind, version)
    )
    """,
    """
    CREATE TABLE taskmill.queues (
        name TEXT NOT NULL,
        paused_at timestamptz,
        paused_by TEXT,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT queues_pkey PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE taskmill.rollups (
        minute timestamptz NOT NULL,
        queue TEXT NOT NULL,
        kind TEXT NOT NULL,
        outcome TEXT NOT NULL,
        writer UUID NOT NULL,
        n BIGINT NOT NULL,
        wait_ms BIGINT DEFAULT 0 NOT NULL,
        run_ms BIGINT DEFAULT 0 NOT NULL,
        CONSTRAINT rollups_pkey PRIMARY KEY (minute, queue, kind, outcome, writer)
    )
    """,
    """
    CREATE TABLE taskmill.schedule_fires (
        schedule_id UUID NOT NULL,
        fire_at timestamptz NOT NULL,
        task_id UUID NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT schedule_fires_pkey PRIMARY KEY (schedule_id, fire_at)
    )
    """,
    """
    CREATE INDEX schedule_fires_created ON taskmill.schedule_fires (created_at)
    """,
    """
    CREATE TABLE taskmill.schedules (
        id UUID NOT NULL,
        name TEXT NOT NULL,
        source TEXT DEFAULT 'api' NOT NULL,
        kind TEXT NOT NULL,
        args JSONB NOT NULL,
        queue TEXT,
        priority SMALLINT,
        cron TEXT,
        interval_s DOUBLE PRECISION,
        timezone TEXT DEFAULT 'UTC' NOT NULL,
        catch_up_s DOUBLE PRECISION NOT NULL,
        paused_at timestamptz,
        next_fire_at timestamptz,
        last_fire_at timestamptz,
        last_task_id UUID,
        missed_count INTEGER DEFAULT 0 NOT NULL,
        last_error TEXT,
        created_by TEXT,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT schedules_pkey PRIMARY KEY (id),
        CONSTRAINT schedules_timetable_check CHECK ((cron is null) <> (interval_s is null))
    )
    """,
    """
    CREATE INDEX schedules_due ON taskmill.schedules (next_fire_at) WHERE paused_at is null
    """,
    """
    CREATE UNIQUE INDEX schedules_name ON taskmill.schedules (name)
    """,
    """
    CREATE TABLE taskmill.task_attempts (
        task_id UUID NOT NULL,
        claim_no INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        cause TEXT NOT NULL,
        error_type TEXT,
        message TEXT,
        traceback TEXT,
        worker_id UUID,
        started_at timestamptz,
        finished_at timestamptz NOT NULL,
        CONSTRAINT task_attempts_pkey PRIMARY KEY (task_id, claim_no)
    )
    """,
    """
    CREATE INDEX task_attempts_finished ON taskmill.task_attempts (finished_at)
    """,
    """
    CREATE TABLE taskmill.task_history (
        id UUID NOT NULL,
        queue TEXT NOT NULL,
        kind TEXT NOT NULL,
        kind_version INTEGER DEFAULT 1 NOT NULL,
        state TEXT NOT NULL,
        priority SMALLINT DEFAULT 2 NOT NULL,
        args JSONB NOT NULL,
        meta JSONB,
        tags TEXT[],
        claim_no INTEGER DEFAULT 0 NOT NULL,
        attempt INTEGER DEFAULT 0 NOT NULL,
        max_attempts INTEGER DEFAULT 5 NOT NULL,
        crash_count INTEGER DEFAULT 0 NOT NULL,
        run_at timestamptz DEFAULT now() NOT NULL,
        expires_at timestamptz,
        ticket_at timestamptz,
        deadline_at timestamptz,
        timeout_ms INTEGER NOT NULL,
        worker_id UUID,
        started_at timestamptz,
        error JSONB,
        schedule_id UUID,
        fire_at timestamptz,
        created_by TEXT,
        cancel_requested_at timestamptz,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        result JSONB,
        finished_at timestamptz NOT NULL,
        CONSTRAINT task_history_pkey PRIMARY KEY (id, finished_at),
        CONSTRAINT task_history_state_check CHECK (state in ('cancelled', 'completed', 'discarded'))
    ) PARTITION BY RANGE (finished_at)
    """,
    """
    CREATE INDEX task_history_failed ON taskmill.task_history (state, id) WHERE state <> 'completed'
    """,
    """
    CREATE INDEX task_history_kind ON taskmill.task_history (kind, id)
    """,
    """
    CREATE INDEX task_history_queue ON taskmill.task_history (queue, id)
    """,
    """
    CREATE TABLE taskmill.tasks (
        id UUID NOT NULL,
        queue TEXT NOT NULL,
        kind TEXT NOT NULL,
        kind_version INTEGER DEFAULT 1 NOT NULL,
        state TEXT NOT NULL,
        priority SMALLINT DEFAULT 2 NOT NULL,
        args JSONB NOT NULL,
        meta JSONB,
        tags TEXT[],
        claim_no INTEGER DEFAULT 0 NOT NULL,
        attempt INTEGER DEFAULT 0 NOT NULL,
        max_attempts INTEGER DEFAULT 5 NOT NULL,
        crash_count INTEGER DEFAULT 0 NOT NULL,
        run_at timestamptz DEFAULT now() NOT NULL,
        expires_at timestamptz,
        ticket_at timestamptz,
        deadline_at timestamptz,
        timeout_ms INTEGER NOT NULL,
        worker_id UUID,
        started_at timestamptz,
        error JSONB,
        schedule_id UUID,
        fire_at timestamptz,
        created_by TEXT,
        cancel_requested_at timestamptz,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT tasks_pkey PRIMARY KEY (id),
        CONSTRAINT tasks_state_check CHECK (state in ('available', 'retryable', 'running', 'scheduled'))
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0)
    """,
    """
    CREATE INDEX tasks_available ON taskmill.tasks (queue, priority, ticket_at) WHERE state = 'available'
    """,
    """
    CREATE INDEX tasks_due ON taskmill.tasks (run_at) WHERE state in ('scheduled', 'retryable')
    """,
    """
    CREATE INDEX tasks_expiring ON taskmill.tasks (expires_at) WHERE expires_at is not null and state <> 'running'
    """,
    """
    CREATE INDEX tasks_running ON taskmill.tasks (worker_id) WHERE state = 'running'
    """,
    """
    CREATE INDEX tasks_unticketed ON taskmill.tasks (queue, priority, id) WHERE state = 'available' and ticket_at is null
    """,
    """
    CREATE TABLE taskmill.workers (
        id UUID NOT NULL,
        hostname TEXT NOT NULL,
        pid INTEGER NOT NULL,
        version TEXT NOT NULL,
        queues TEXT[] NOT NULL,
        kinds TEXT[] NOT NULL,
        concurrency INTEGER NOT NULL,
        running INTEGER DEFAULT 0 NOT NULL,
        draining BOOLEAN DEFAULT false NOT NULL,
        started_at timestamptz DEFAULT now() NOT NULL,
        lease_until timestamptz NOT NULL,
        dead_at timestamptz,
        death TEXT,
        CONSTRAINT workers_pkey PRIMARY KEY (id)
    )
    """,
    """
    CREATE INDEX workers_lease ON taskmill.workers (lease_until) WHERE dead_at is null
    """,
)

TABLES = (
    "api_keys",
    "kinds",
    "queues",
    "rollups",
    "schedule_fires",
    "schedules",
    "task_attempts",
    "task_history",
    "tasks",
    "workers",
)


def upgrade() -> None:
    """Create the tables; the partitions of `task_history` come from the pruner (`taskmill migrate up` calls it)."""
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    """Drop every table of the core."""
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE taskmill.{table}")
