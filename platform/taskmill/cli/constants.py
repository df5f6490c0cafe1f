"""The command line's own numbers, each with its unit and reason; shared ones are in `taskmill.constants`."""

from __future__ import annotations

from typing import Final

# ── 数据库 ────────────────────────────────────────────────────────────────
TERMINATION_MAX_BYTES: Final = 4_096  # Kubernetes 只读终止消息的前 4 KiB

# ── 接口与日志 ────────────────────────────────────────────────────────────
SCHEMA_WAIT_POLL_S: Final = 1.0  # migrate wait 查询的间隔；等的是分钟级的迁移
END_MARGIN_S: Final = 10.0  # 收到停止信号后，宽限之外最多再用这么久收尾；到时强行结束
END_HURRY_S: Final = 5.0  # 第二次信号之后、或事情都做完之后，最多再用这么久
END_CANCEL_S: Final = 1.0  # 结束时被取消的协程收尾的时限；吞掉取消的就丢下
END_LOG_S: Final = 1.0  # 强行结束之前写日志的时限：标准错误堵住了也不等
END_LOG_FRAMES: Final = 4  # 跑出事件循环的异常，日志里写最后几帧：够认出是谁抛的

# ── 命令行 ────────────────────────────────────────────────────────────────
DURATION_MAX_S: Final = 36_500 * 86_400.0  # 命令行上的时长；再长，加在今天上就出了日历
CLI_TIMEOUT_S: Final = 60.0  # 等接口回答的最长时间：一万个任务的批量也够
CLI_WATCH_POLL_S: Final = 0.5  # task watch 查询的间隔
CLI_RECONNECT_S: Final = 300.0  # task watch 等一个不在的接口最多这么久：够滚动升级，又不至于永远挂着
