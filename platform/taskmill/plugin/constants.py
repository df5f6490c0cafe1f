"""The numbers of the contract with plugins, each with its unit and reason; shared ones are in `taskmill.constants`."""

from __future__ import annotations

from typing import Final

# ── 任务 ──────────────────────────────────────────────────────────────────
BACKOFF_BASE_S: Final = 1.0  # 指数退避：上限 = base × 2^(attempt-1)，再取全抖动
BACKOFF_MAX_S: Final = 3_600.0

# ── 工作进程 ──────────────────────────────────────────────────────────────
THREADS_MAX: Final = 64  # thread 执行器的线程数上限

# ── 插件 ──────────────────────────────────────────────────────────────────
PLUGIN_GROUP: Final = "taskmill.plugins"
PLUGIN_HEALTH_TIMEOUT_S: Final = 2.0
PLUGIN_BREAKER_FAILURES: Final = 3  # 连续失败这么多次就熔断
PLUGIN_BREAKER_OPEN_S: Final = 30.0  # 熔断多久后再试一次
PLUGIN_TRACE_FRAMES: Final = 4  # 日志里保留调用栈的最后几层

# ── 插件加在界面上的 ──────────────────────────────────────────────────────
PANEL_TIMEOUT_S: Final = 1.0  # 一个面板；各面板同时问，页面至多多等这么久
PANEL_THREADS: Final = 8  # 普通函数在线程里执行；被放弃的不占名额
PANEL_ROWS_MAX: Final = 50
PANEL_VALUE_MAX_CHARS: Final = 32 * 1024  # 一行；与任务页上的 JSON 一样长
PANEL_MAX_CHARS: Final = 64 * 1024  # 一个面板的各行合计
PANEL_LABEL_MAX_CHARS: Final = 100
PANEL_REASON_MAX_CHARS: Final = 500
DASHBOARD_PARTS_MAX: Final = 10  # 一个插件的页面、面板、一页里的面板，各自至多这么多
