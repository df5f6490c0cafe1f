"""The numbers of the kit for tests."""

from __future__ import annotations

from typing import Final

DRAIN_MAX: Final = 10_000  # 一次 drain 至多执行多少次尝试：处理函数不停地提交自己，也要有个头
SERVERS_SETTLE_S: Final = 30.0  # taskmill_worker 等一切空闲的最长时间
IDLE_POLL_S: Final = 0.02  # 多久看一次是否空闲
STAGER_PERIOD_S: Final = 0.05  # 测试里的 stager 多久一轮；生产环境的慢几倍
WORKER_CONCURRENCY: Final = 10
LISTED_MAX: Final = 20  # 断言失败时至多列出多少个任务
