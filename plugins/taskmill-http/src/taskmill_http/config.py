"""Settings of the plugin, `TASKMILL_PLUGIN_HTTP_*`, and its limits."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from taskmill.plugin import Secret

TIMEOUT_DEFAULT_S: Final = 30.0
TIMEOUT_MAX_S: Final = 600.0  # 一次请求（含重定向）的上限
TIMEOUT_MARGIN_S: Final = 30.0  # 任务的期限比请求的期限多这么多，好让请求自己先报超时
RESPONSE_DEFAULT_BYTES: Final = 64 * 1024  # 结果进数据库，默认只留开头
RESPONSE_MAX_BYTES: Final = 512 * 1024  # 结果总上限 1 MiB，JSON 转义可能翻倍；超出时再截
REDIRECTS_MAX: Final = 5
RETRY_AFTER_MAX_S: Final = 3_600.0  # 服务器说得再久也最多等一小时
RETRY_AFTER_MAX_CHARS: Final = 64  # 最长的日期格式不到 40 个字符
REASON_MAX_CHARS: Final = 200  # 失败原因里引用的响应开头
REASON_READ_BYTES: Final = 4 * 1024  # 意外的状态只读这么多，足够引用
URL_MAX_CHARS: Final = 8_192  # 常见服务器的上限
HOST_MAX_CHARS: Final = 512  # 主机与端口；域名最长 253，先量长度再做 IDNA
HEADERS_MAX: Final = 100  # 请求头个数，常见服务器的上限
HEADERS_MAX_BYTES: Final = 64 * 1024  # 请求头合计
HEAD_MAX_BYTES: Final = 256 * 1024  # 响应的状态行与头合计，再多就断开
HEAD_LINE_MAX_BYTES: Final = 64 * 1024  # 响应头的一行；aiohttp 默认 8190，大的 Set-Cookie 会超过
KEPT_HEADER_MAX_BYTES: Final = 8 * 1024  # 结果里一个响应头最多留这么多
RESPONSE_TYPE_MAX_CHARS: Final = 512  # Content-Type 里只在开头找 charset
CHUNK_BYTES: Final = 16 * 1024  # 一次读取与解压的输入；gzip 的小段再多，也只与它的平方成正比


class HeaderSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A value for `secret:NAME` and the only hosts that may receive it."""

    value: Secret
    hosts: Annotated[list[str], msgspec.Meta(min_length=1)]


class HttpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`timeout_max_s` seconds, `response_max_bytes` bytes: what a task may ask for at most.

    `redirect_hosts` are those that headers and bodies may follow to from another origin.
    """

    allow_private: bool = False
    secrets: dict[str, HeaderSecret] = {}
    redirect_hosts: list[str] = []
    timeout_max_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = TIMEOUT_MAX_S
    response_max_bytes: Annotated[int, msgspec.Meta(ge=0)] = RESPONSE_MAX_BYTES
    user_agent: str = "taskmill-http"
