"""What no single setting can say: names that nobody knows, and settings that contradict each other."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from taskmill import constants as c
from taskmill import reasons
from taskmill.errors import Code, SetupError

if TYPE_CHECKING:
    from taskmill.settings import Settings

PREFIX = "TASKMILL_"
# 不是核心设置，但有主人：测试、插件的配置、命令行的连接、集群控制器的命名空间、compose.yaml 的密码
OTHERS = ("TASKMILL_TEST_", "TASKMILL_PLUGIN_", "TASKMILL_E2E")
KNOWN = frozenset({"TASKMILL_API_URL", "TASKMILL_API_TOKEN", "TASKMILL_POD_NAMESPACE", "TASKMILL_DB_PASSWORD"})
# Kubernetes 为同一命名空间里名为 taskmill… 的 Service 注入的变量：绝不能因为它们起不来
SERVICE_NAME = re.compile(r"(_SERVICE_HOST|_SERVICE_PORT(_\w+)?|_PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)$")
# 前一个不能大于后一个
_ASCENDING = (
    ("args_max_bytes", "body_max_bytes"),
    ("body_max_bytes", "batch_body_max_bytes"),
    ("api_header_max_bytes", "api_heads_max_bytes"),
    ("dashboard_idle_s", "dashboard_session_s"),
)
SERVICE_URL = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)


def is_service_link(name: str, value: str) -> bool:
    """Say whether Kubernetes made this variable for a Service, such as `TASKMILL_API_PORT=tcp://10.0.0.1:8800`."""
    return SERVICE_NAME.search(name.upper()) is not None or (
        name.upper().endswith("_PORT") and SERVICE_URL.match(value) is not None
    )


def without_service_links(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables without those that Kubernetes made for Services."""
    return {
        name: value
        for name, value in environment.items()
        if not (name.upper().startswith(PREFIX) and is_service_link(name, str(value or "")))
    }


def check_names(environment: Mapping[str, str], fields: Collection[str]) -> None:
    """Raise SetupError CONFIG_INVALID for a variable `TASKMILL_…` that no setting reads."""
    known = {PREFIX + field.upper() for field in fields} | KNOWN
    for name in sorted(without_service_links(environment)):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in known or upper.startswith(OTHERS):
            continue
        close = difflib.get_close_matches(upper, sorted(known), n=1, cutoff=c.SETTING_LIKENESS)
        reason = reasons.UNKNOWN_SETTING_LIKE(close=close[0]) if close else reasons.UNKNOWN_SETTING
        raise SetupError(Code.CONFIG_INVALID, field=name, reason=reason)


def check_together(settings: Settings) -> None:
    """Raise SetupError CONFIG_INVALID if two settings contradict each other."""
    # 租约的三分之一：丢一次续约、再慢一次，也不会被当成死了
    if settings.heartbeat_s * c.HEARTBEATS_PER_LEASE > settings.lease_s * (1 + 1e-9):
        limit = f"{settings.lease_s / c.HEARTBEATS_PER_LEASE:.4g}"
        raise _contradiction("heartbeat_s", settings.heartbeat_s, limit, "lease_s", settings.lease_s, reasons.THIRD_OF)
    for small, large in _ASCENDING:
        low, high = getattr(settings, small), getattr(settings, large)
        if low > high:
            raise _contradiction(small, low, high, large, high, reasons.NOT_ABOVE)
    connections = settings.pool_size + settings.orm_pool_size
    if connections > c.POOL_TOTAL_MAX:
        field = "TASKMILL_POOL_SIZE, TASKMILL_ORM_POOL_SIZE"
        raise SetupError(Code.CONFIG_INVALID, field=field, reason=reasons.SUM_ABOVE(sum=connections, limit=c.POOL_TOTAL_MAX))
    both = sorted({*settings.plugins_allow} & {*settings.plugins_deny})
    if both:
        field = "TASKMILL_PLUGINS_ALLOW, TASKMILL_PLUGINS_DENY"
        raise SetupError(Code.CONFIG_INVALID, field=field, reason=reasons.IN_BOTH(names=", ".join(both)))


def _contradiction(field: str, value: Any, limit: Any, other: str, given: Any, reason: Any) -> SetupError:
    facts = {"value": f"{value:g}", "limit": limit, "other": PREFIX + other.upper(), "given": f"{given:g}"}
    return SetupError(Code.CONFIG_INVALID, field=PREFIX + field.upper(), reason=reason(**facts))
