"""The API's own numbers, each with its unit and reason; shared ones are in `taskmill.constants`."""

from __future__ import annotations

from typing import Final

# ── 输入上限 ──────────────────────────────────────────────────────────────
TASK_RAW_FACTOR: Final = 6  # 一个任务的 JSON 至多是其内容的几倍长：每个字符都写成六字节的转义
TASK_RAW_REST: Final = 64 * 1024  # 参数与 meta 之外的字段：标签、名字、时间
BATCH_COUNTED_MAX: Final = 100_000  # 太大的批最多数到这里；每个任务占 24 字节

# ── 调度器的循环 ──────────────────────────────────────────────────────────
NEXT_FIRES_DEFAULT: Final = 5

# ── 接口与日志 ────────────────────────────────────────────────────────────
PLUGINS_PREFIX: Final = "/plugins/"  # 插件自己的路由
BODY_LOG_MAX_BYTES: Final = 50 * 1024
LOG_FIELD_MAX_CHARS: Final = 1_000  # 访问日志里路径、查询串、User-Agent 的长度上限
NESTED_JSON_MAX: Final = 4  # 文字里的 JSON 里的文字……看到第几层；再深的整个遮住
SECRET_NAMES_CACHED: Final = 1_024  # 字段名大多反复出现，判断一次就够
SERVER_START_POLL_S: Final = 0.005  # 等接口开始监听的轮询间隔
BODY_IGNORED_MAX_BYTES: Final = 1024  # 不收请求体的操作最多读这么多来判断
REQUEST_ID_MAX_CHARS: Final = 100  # 客户端给的请求号超过此长度就不用
CLIENT_CLOSED_STATUS: Final = 499  # 访问日志里的状态：客户端先断开
RETRY_AFTER_S: Final = 1  # 503 的 Retry-After：一次重启或切换要几秒，客户端自会退避
SHUTDOWN_ANSWER_S: Final = 1.0  # 停止时被打断的请求：回答 503 之后还等它们收尾多久
FAREWELL_TURNS: Final = 5  # 停止前让事件循环再转几圈，够一个已有结果的请求醒来并答完
API_READY_S: Final = 4.0  # 独立端口上的就绪检查等主循环回答的时限；探针的超时通常是 5 秒
API_LIVE_S: Final = 60.0  # 主循环这么久没有转过来，存活探针才失败；一条慢查询不会卡住循环
METRICS_QUEUES_MAX: Final = 100  # 指标里最多给多少个队列各自的标签，其余合成一个：标签由提交者取，不能无限多
