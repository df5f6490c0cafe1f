"""Settings of the plugin, `TASKMILL_PLUGIN_HTTP_*`, and its limits."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from taskmill.plugin import Secret

TIMEOUT_DEFAULT_S: Final = 30.0
TIMEOUT_MAX_S: Final = 600.0  # 一次请求（含重定向）的上限
TIMEOUT_MARGIN_S: Final = 30.0  # 任务的期限比请求的期限多这么多，好让请求自己先报超时
RESPONSE_DEFAULT_BYTES: Final = 64 * 1024  # 结果进数据库，默认只留开头
RESPONSE_MAX_BYTES: Final = 512 * 1024  # 结果总上限 1 MiB，JSON 转义可能翻倍
REDIRECTS_MAX: Final = 5
RETRY_AFTER_MAX_S: Final = 3_600.0  # 服务器说得再久也最多等一小时
REASON_MAX_CHARS: Final = 200  # 失败原因里引用的响应开头


class HeaderSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A value for `secret:NAME` and the only hosts that may receive it."""

    value: Secret
    hosts: Annotated[list[str], msgspec.Meta(min_length=1)]


class HttpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`timeout_max_s` seconds, `response_max_bytes` bytes: what a task may ask for at most."""

    allow_private: bool = False
    secrets: dict[str, HeaderSecret] = {}
    timeout_max_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = TIMEOUT_MAX_S
    response_max_bytes: Annotated[int, msgspec.Meta(ge=0)] = RESPONSE_MAX_BYTES
    user_agent: str = "taskmill-http"
