"""The numbers of the embedded servers and `taskmill dev`, each with its unit and reason; shared ones are in `taskmill.constants`."""

from __future__ import annotations

from typing import Final

DEV_PORTS: Final = (20_000, 32_000)  # 低于系统临时端口（32768 起），重启时不会被外连抢走
DEV_PORT_TRIES: Final = 50  # 随机挑端口的次数上限
DEV_POLL_S: Final = 0.01  # 等就绪、等退出的轮询间隔
DEV_START_TIMEOUT_S: Final = 60.0  # 崩溃恢复与加载 AOF 的最长时间
DEV_STOP_TIMEOUT_S: Final = 15.0  # 正常停止的最长时间，超过就强杀
DEV_PROBE_TIMEOUT_S: Final = 1.0  # 一次就绪探测
DEV_LOG_MAX_BYTES: Final = 10 * 1024 * 1024  # 超过就在下次启动时清空
DEV_LOG_TAIL_LINES: Final = 5  # 启动失败时随错误给出的日志行数
DEV_DRAIN_GRACE_S: Final = 5.0  # 开发时 Ctrl-C 要在十秒内停下
DEV_STOP_LIMIT_S: Final = 7.0  # 收到停止信号后一个角色最多还能拖多久，之后被取消
DEV_CANCEL_S: Final = 1.0  # 被取消的角色收尾的时间
DEMO_TIMEOUT_S: Final = 60.0  # 演示任务全部结束的最长时间
DEMO_POLL_S: Final = 0.2  # 演示查询任务状态的间隔
