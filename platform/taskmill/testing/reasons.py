"""What the kit for tests says when it cannot do what it is asked, in both languages."""

from __future__ import annotations

from typing import Final

from taskmill.words import Words

NEEDS_TASKIQ: Final = Words(
    zh="{kind} 用到 taskiq 的依赖或本就是 taskiq 任务，Harness 不模拟它们；请用 taskmill_worker 在真服务器上测",
    en="{kind} uses dependencies of taskiq or is a taskiq task, which Harness does not run; test it with taskmill_worker, on real servers",
)
HAS_MIDDLEWARES: Final = Words(
    zh="插件带来了 taskiq 中间件（{names}），Harness 不模拟它们；请用 taskmill_worker 在真服务器上测",
    en="plugins bring taskiq middlewares ({names}), which Harness does not run; test it with taskmill_worker, on real servers",
)
NO_CONNECTION: Final = Words(
    zh="Harness 没有事务：connection= 的提交要么与事务同生共死，要么什么也没测到；请用 taskmill 夹具，或 Harness(ignore_connections=True)",
    en="Harness has no transactions, so connection= would prove nothing; use the fixture taskmill, or Harness(ignore_connections=True), "
    "where the task counts as committed at once",
)
NOT_FINAL: Final = Words(
    zh="任务 {id}（{kind}）是 {state}，而没有人在跑：先 await harness.drain()，要等到将来的用 drain(future=True)",
    en="task {id} ({kind}) is {state} and nothing runs it meanwhile: await harness.drain() first, drain(future=True) for what waits for its time",
)
TOO_MANY: Final = Words(
    zh="一次 drain 里已执行 {limit} 次尝试：是否有处理函数不停地提交自己，或不等就推迟？上限是 Harness(drain_max=…)",
    en="{limit} attempts ran in one drain: does a handler submit itself for ever, or snooze without a delay? The limit is Harness(drain_max=…)",
)
DRAINING: Final = Words(
    zh="同一个 Harness 已在 drain，处理函数里不能再 drain",
    en="this Harness is draining already; a handler cannot drain it",
)
NOT_LOADED: Final = Words(zh="插件没有起来：{reasons}", en="plugins are not up: {reasons}")
