"""What the simulator and the operator's setup say is wrong, in both languages."""

from __future__ import annotations

from typing import Final

from taskmill.words import Words

# 参数依次是中文、英文
NO_URL: Final = Words("没有地址", "no URL")
NONE_HAS_RUN: Final = Words("队列 {queue} 没有跑完的任务", "no finished task of queue {queue} has run")
TOO_LONG: Final = Words(
    "任务跨了 {days} 天，最多 {most} 天：把 --after 调后", "the tasks span {days} days, at most {most}: give a later --after"
)
NO_COLUMN: Final = Words("{file}：缺少列 {names}", "{file}: no column {names}")
NOT_NUMBERS: Final = Words("{file}：第 {line} 行不是数字", "{file}: line {line} is not numbers")
LINE_OUTSIDE: Final = Words("{file}：第 {line} 行：{error}", "{file}: line {line}: {error}")
OUTSIDE: Final = Words(
    "{name} {value:g} 不在 {low:g} 与 {high:g} 之间", "{name} {value:g} is not between {low:g} and {high:g}"
)
NO_TASKS: Final = Words("{file}：没有任务", "{file}: no tasks")

# 模拟的及格线：哪一条没有守住
MORE_LATE: Final = Words(
    "{trace} 对 {rival}：迟到 {ours}，对手 {theirs}", "{trace} against {rival}: {ours} late, not {theirs}"
)
MORE_INTERRUPTED: Final = Words(
    "{trace} 对 {rival}：中断 {ours}，对手 {theirs}", "{trace} against {rival}: {ours} interrupted, not {theirs}"
)
DEARER: Final = Words(
    "{trace} 对 {rival}：{ours} Pod 小时，超过 {ratio:g} x {theirs}",
    "{trace} against {rival}: {ours} pod-hours, more than {ratio:g} x {theirs}",
)
NOT_FEWER: Final = Words(
    "合计对 {rival}：迟到与中断 {ours}，不少于 {theirs}",
    "in all against {rival}: {ours} late and interrupted, not fewer than {theirs}",
)
