"""The numbers of serving HTTP, each with its unit and reason; shared ones are in `taskmill.constants`."""

from __future__ import annotations

from typing import Final

# ── 工作进程 ──────────────────────────────────────────────────────────────
HEALTH_STOP_S: Final = 5.0  # 等健康端点的线程结束的时限
HEALTH_STOP_POLL_S: Final = 0.02

# ── 接口与日志 ────────────────────────────────────────────────────────────
HTTP_HEADER_FRAME: Final = 4  # 每个请求头的冒号、空格与换行
HTTP_PIECE_BYTES: Final = 16 * 1024  # 一次交给解析器这么多：读一次可达 256 KB，其中的请求头只有解析之后才知道多长
HTTP_PROBE_CONNECTIONS: Final = 64  # 探针与抓取指标的端点只有几个客户端
HTTP_PIPELINE_MAX: Final = 16  # 一个连接上没等回答就发来的请求；浏览器与常见的客户端一个也不发
HTTP_EVICT_SHARE: Final = 16  # 满员时一次清走十六分之一
HTTP_DISCARD_MAX_BYTES: Final = 64 * 1024 * 1024  # 已经回答的请求，剩下的请求体最多读这么多来丢弃
HTTP_SWEEP_S: Final = 0.5  # 多久看一遍所有连接的时限
HTTP_TELL_S: Final = 10.0  # 拒绝与关闭的连接，多久汇总写一行
HTTP_REFUSALS_MAX: Final = 50  # 满员时同时还能回答多少个 503；再多就直接断开
HTTP_LINGER_S: Final = 1.0  # 拒绝之后留给对方读回答的时间
DESCRIPTORS_RESERVED: Final = 100  # 留给数据库、Valkey、日志与正在关闭的连接

# ── 一个端口上的几个进程 ──────────────────────────────────────────────────
COPY_BEAT_S: Final = 1.0
COPY_LOOK_S: Final = 1.0  # 父进程多久看一遍谁没有动静
COPY_SILENT_S: Final = 30.0  # 事件循环这么久没转过来，结束它，再起一个：与探针放弃一个进程所用的相当
COPY_START_S: Final = 120.0  # 数据库在了之后，起来用的时间；插件也在其中
COPY_BEATS_BYTES: Final = 256
COPY_REST_S: Final = 0.5  # 再起之前歇多久；接连结束的，一次比一次久
COPY_REST_MAX_S: Final = 30.0
COPY_SETTLED_S: Final = 60.0  # 活过这么久的，从头算
