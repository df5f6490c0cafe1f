"""All settings of the platform: environment variables `TASKMILL_*`, validated once at start."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from taskmill import constants as c
from taskmill import reasons
from taskmill.errors import Code, SetupError
from taskmill.secret import Secret
from taskmill.settings_check import check_names, check_together, without_service_links
from taskmill.text.validation import of_setting
from taskmill.urls import UrlError, check_broker_url, parse_database_url

Names = Annotated[list[str], NoDecode]


class Settings(BaseSettings):
    """Settings of every role. Lists are comma-separated; times are seconds; sizes are bytes."""

    model_config = SettingsConfigDict(env_prefix="TASKMILL_", extra="ignore", frozen=True, allow_inf_nan=False)

    database_url: Secret | None = Field(None, description="PostgreSQL, `postgresql://user:password@host:port/db`.")
    broker_url: Secret | None = Field(None, description="Valkey or Redis, `redis://host:port/0`.")
    database_wait_s: float = Field(
        c.DATABASE_WAIT_S,
        ge=0,
        description="How long a role, or `migrate up`, waits at its start for PostgreSQL; 0: not at all.",
    )
    database_timeout_s: float = Field(
        c.COMMAND_TIMEOUT_S,
        ge=c.COMMAND_TIMEOUT_MIN_S,
        le=60,
        description="Longest time for one statement; a connection that stays silent longer is cut and made anew.",
    )
    slow_query_s: float = Field(
        c.SLOW_QUERY_S,
        ge=0,
        le=60,
        description="A statement that takes this long leaves a WARNING line with its name; 0: none does.",
    )
    pool_size: int = Field(c.POOL_SIZE, ge=2, le=20, description="Connections of the hot path per process.")
    orm_pool_size: int = Field(c.ORM_POOL_SIZE, ge=1, le=20, description="Connections for lists and CRUD per process.")

    api_host: str = Field("127.0.0.1", description="Address that the API binds.")
    api_port: int = Field(c.API_PORT, ge=0, le=65535, description="Port of the API; 0 takes a free one.")
    api_processes: int = Field(
        1,
        ge=1,
        le=c.API_PROCESSES_MAX,
        description="Processes of one `taskmill api` that share its port, for machines with more cores; each has its own "
        "connections and byte budgets.",
    )
    body_max_bytes: int = Field(c.BODY_MAX_BYTES, ge=1024, description="Largest request body.")
    batch_body_max_bytes: int = Field(c.BATCH_BODY_MAX_BYTES, ge=1024, description="Largest body of `/tasks/batch`.")
    api_bodies_max_bytes: int = Field(
        c.BODIES_MAX_BYTES, ge=1024, description="Bodies in work at once, all together; the next gets 503 `SERVER_BUSY`."
    )
    api_header_max_bytes: int = Field(
        c.HTTP_HEADER_MAX_BYTES, ge=1024, description="Largest request line and headers together; more gets 431."
    )
    api_headers_max: int = Field(c.HTTP_HEADERS_MAX, ge=10, description="Most headers of a request; more gets 431.")
    api_heads_max_bytes: int = Field(
        c.HTTP_HEADS_MAX_BYTES,
        ge=1024,
        description="Headers of all connections together that are unfinished or whose requests are not answered yet; beyond it the "
        "connections that hold most are closed. At least `TASKMILL_API_HEADER_MAX_BYTES`.",
    )
    api_url_max_bytes: int = Field(c.HTTP_URL_MAX_BYTES, ge=256, description="Longest path and query; more gets 414.")
    api_header_timeout_s: float = Field(
        c.HTTP_HEADER_TIMEOUT_S,
        gt=0,
        description="Time for a request's headers to arrive; then 408 and the connection ends.",
    )
    api_body_timeout_s: float = Field(
        c.HTTP_BODY_TIMEOUT_S,
        gt=0,
        description="Time for a request's body to arrive, on top of what `TASKMILL_API_BODY_MIN_RATE` allows for its size; "
        "also how long an answer may wait for its reader.",
    )
    api_body_min_rate: int = Field(
        c.HTTP_BODY_MIN_RATE, ge=1, description="Bytes per second that a body, or the reader of an answer, must keep up."
    )
    api_keep_alive_s: int = Field(c.HTTP_KEEP_ALIVE_S, ge=1, description="Life of an idle connection.")
    api_connections_max: int = Field(
        c.HTTP_CONNECTIONS_MAX,
        ge=c.HTTP_CONNECTIONS_MIN,
        description="Most connections, as far as the limit of file descriptors allows. At the limit unfinished requests and idle "
        "connections are closed first, then new ones get 503.",
    )
    api_health_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port of the API's probes on `TASKMILL_BIND_HOST`, answered from a thread of its own; 0: none.",
    )
    batch_max_tasks: int = Field(c.BATCH_MAX_TASKS, ge=1, description="Most tasks in one batch.")
    args_max_bytes: int = Field(c.ARGS_MAX_BYTES, ge=16, description="Largest `args` of a task, encoded.")
    args_max_depth: int = Field(c.ARGS_MAX_DEPTH, ge=1, le=200, description="Deepest nesting of `args`.")
    result_max_bytes: int = Field(c.RESULT_MAX_BYTES, ge=16, description="Largest result of a task, encoded.")
    depends_on_max: int = Field(c.DEPENDS_ON_MAX, ge=1, le=1_000, description="Most tasks that one task may depend on.")
    queues_max: int = Field(c.QUEUES_MAX, ge=1, description="Most queues; a task or a policy for a further one is refused.")
    allow_unknown_kinds: bool = Field(False, description="Accept tasks of kinds that nobody has registered yet.")
    metrics_public: bool = Field(False, description="Serve `/metrics` without a key.")
    dashboard: bool = Field(True, description="Serve the dashboard at `/dashboard/`.")
    dashboard_idle_s: float = Field(
        c.DASHBOARD_IDLE_S,
        ge=60,
        le=7 * 86_400,
        description="A dashboard session ends that nobody used for so long; an open page by itself does not count.",
    )
    dashboard_session_s: float = Field(
        c.DASHBOARD_SESSION_S, ge=60, le=90 * 86_400, description="Longest life of a dashboard session."
    )
    dashboard_sessions_max: int = Field(
        c.DASHBOARD_SESSIONS_MAX, ge=1, le=1_000, description="Sessions of one key; a further one ends the oldest."
    )
    stream_window: int = Field(
        c.STREAM_WINDOW, ge=10, description="Most tickets in one stream; the rest waits in PostgreSQL."
    )

    fairness_window: int = Field(
        c.FAIRNESS_WINDOW,
        ge=4,
        le=50_000,
        description="Tasks with a fairness key that are next in a queue and priority: so many start before the first of a new key.",
    )

    queues: Names = Field([], description="Queues a worker serves; empty: every queue that a registered kind names.")
    concurrency: int = Field(c.CONCURRENCY_DEFAULT, ge=1, le=c.CONCURRENCY_MAX, description="Tasks run at once per worker.")
    lease_s: float = Field(c.LEASE_S, ge=1, description="Life of a worker's lease.")
    heartbeat_s: float = Field(c.HEARTBEAT_S, gt=0, description="Period of lease renewals; at most a third of the lease.")
    bind_host: str = Field("0.0.0.0", description="Address that the health endpoints of workers and schedulers bind.")  # noqa: S104 - 探针从节点来
    worker_health_port: int = Field(0, ge=0, le=65535, description="Port of a worker's health endpoint; 0: none.")
    scheduler_health_port: int = Field(0, ge=0, le=65535, description="Port of a scheduler's health endpoint; 0: none.")
    pod_name: str | None = Field(None, description="Name of the pod that a worker runs in.")
    pod_uid: str | None = Field(None, description="Unique id of that pod; orders of an operator are addressed to it.")
    bundle: str | None = Field(None, description="Rollout that a worker belongs to, as its operator names it.")
    threads_abandoned_max: int = Field(
        c.THREADS_ABANDONED_MAX,
        ge=1,
        description="Handler threads that hang after a timeout or cancel until a worker drains and ends.",
    )
    drain_grace_s: float = Field(c.DRAIN_GRACE_S, ge=0, description="Time that running tasks get after SIGTERM.")

    termination_message: Path | None = Field(None, description="File for the result of `taskmill migrate up`, as JSON.")
    history_retention_days: int = Field(c.RETENTION_DAYS, ge=1, description="Days that finished tasks are kept.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")
    log_format: Literal["console", "json"] = Field("console", description="Form of log lines on the terminal.")
    log_lang: Literal["zh", "en"] = Field("zh", description="Language of the events and of our errors in logs.")
    log_dir: Path | None = Field(None, description="Folder for rotating log files; unset: standard error only.")
    log_file_max_bytes: int = Field(c.LOG_FILE_MAX_BYTES, ge=1024, description="Size at which a log file is rotated.")
    log_file_max_age_s: float = Field(
        c.LOG_FILE_MAX_AGE_S, ge=c.LOG_FILE_MIN_AGE_S, description="Age at which a log file is rotated, whatever its size."
    )
    log_file_count: int = Field(c.LOG_FILE_COUNT, ge=1, description="Rotated files kept per log.")

    operator_namespaces: Names = Field(
        [], description="Namespaces that the operator serves; empty: its own; `*`: all of the cluster."
    )
    operator_image: str = Field("", description="Image of workers whose TaskQueue names none.")
    operator_lease_name: str = Field(c.OPERATOR_LEASE, description="Name of the Lease by which operators elect a leader.")
    operator_health_port: int = Field(
        c.OPERATOR_HEALTH_PORT,
        ge=0,
        le=65535,
        description="Port of the operator's `/healthz`, `/readyz` and `/metrics`; 0: none.",
    )
    operator_tick_s: float = Field(
        c.OPERATOR_TICK_S, ge=0.5, le=60, description="Period of the operator's scaling decisions."
    )
    operator_rollouts: int = Field(c.OPERATOR_ROLLOUTS, ge=1, description="TaskQueues that roll out at the same time.")
    operator_workers: int = Field(c.OPERATOR_WORKERS, ge=1, le=64, description="Objects that the operator works on at once.")

    plugins_allow: Names = Field([], description="Only these plugins are loaded; empty: all that are installed.")
    plugin_start_budget_s: float = Field(
        c.PLUGIN_START_BUDGET_S,
        ge=0.1,
        le=600,
        description="How long one plugin may take to come up; heavy imports on little CPU take longer.",
    )
    plugins_deny: Names = Field([], description="Plugins that are never loaded.")
    plugin_modules: Names = Field([], description="Import paths of plugin modules to load besides the installed ones.")

    @classmethod
    def settings_customise_sources(  # noqa: D102 - pydantic 的钩子，参数由它决定
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        if isinstance(env_settings, EnvSettingsSource):
            env_settings.env_vars = without_service_links(env_settings.env_vars)
        return init_settings, env_settings, dotenv_settings, file_secret_settings

    @field_validator("queues", "operator_namespaces", "plugins_allow", "plugins_deny", "plugin_modules", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    def logging(self) -> dict[str, Any]:
        """Return what `configure_logging` takes."""
        return {
            "level": self.log_level,
            "log_format": self.log_format,
            "log_dir": self.log_dir,
            "max_bytes": self.log_file_max_bytes,
            "max_age_s": self.log_file_max_age_s,
            "count": self.log_file_count,
            "language": self.log_lang,
        }

    def require_database_url(self) -> str:
        """Return the database URL or raise CONFIG_INVALID."""
        return _require(self.database_url, "TASKMILL_DATABASE_URL", parse_database_url)

    def require_broker_url(self) -> str:
        """Return the broker URL or raise CONFIG_INVALID."""
        return _require(self.broker_url, "TASKMILL_BROKER_URL", check_broker_url)

    def require_urls(self) -> tuple[str, str]:
        """Return the URLs of the database and of the broker, or raise CONFIG_INVALID that names both if both are missing."""
        if self.database_url is None and self.broker_url is None:
            field = "TASKMILL_DATABASE_URL, TASKMILL_BROKER_URL"
            raise SetupError(Code.CONFIG_INVALID, field=field, reason=reasons.NEITHER_SET)
        return self.require_database_url(), self.require_broker_url()


def _require(value: Secret | None, name: str, check: Callable[[str], object]) -> str:
    if value is None:
        raise SetupError(Code.CONFIG_INVALID, field=name, reason=reasons.NOT_SET)
    url = value.get_secret_value()
    try:
        check(url)
    except UrlError as error:
        raise SetupError(Code.CONFIG_INVALID, field=name, reason=error.reason) from None
    return url


def load_settings(**overrides: object) -> Settings:
    """Read the environment; raise SetupError CONFIG_INVALID that names the variable and the reason.

    That also says no to a variable `TASKMILL_…` that no setting reads, and to settings that contradict each other.
    """
    check_names(os.environ, Settings.model_fields)
    try:
        found = Settings(**overrides)  # pyright: ignore[reportArgumentType] - 值由 pydantic 校验
    except ValidationError as error:
        first = error.errors()[0]
        field = "TASKMILL_" + "_".join(str(part) for part in first["loc"]).upper()
        raise SetupError(Code.CONFIG_INVALID, field=field, reason=of_setting(first)) from error
    check_together(found)
    return found


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process, read once."""
    return load_settings()
