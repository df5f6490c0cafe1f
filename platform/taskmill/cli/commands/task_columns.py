"""What tables of tasks show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskmill.cli.commands.task_watch import told
from taskmill.cli.language import words
from taskmill.cli.output import Column, age, duration, plain
from taskmill.states import State


def _unfinished(item: Mapping[str, Any]) -> bool:
    """完成的任务身上的错误是以前某次尝试的，不是它现在的。"""
    return item.get("state") != State.COMPLETED


def _overcome(item: Mapping[str, Any]) -> bool:
    return not _unfinished(item) and bool(item.get("error"))


def _waits(item: Mapping[str, Any]) -> bool:
    return bool(item.get("waiting"))


def _error(value: Any) -> str:
    """`类型: 文字`，保留原来的分行。"""
    if not isinstance(value, Mapping):
        return plain(value)
    return ": ".join(str(part) for part in (value.get("type"), value.get("message")) if part)


def _reasons(value: Any) -> str:
    return "\n".join(told(reason) for reason in value)


def _at_once(_: Any) -> str:
    return words("没有什么挡着它，马上就有人领", "nothing: it is taken at once")


COLUMNS = (
    Column("id", "编号", "ID"),
    Column("kind", "类型", "KIND"),
    Column("queue", "队列", "QUEUE", rank=1),
    Column("priority", "优先级", "PRIORITY", wide=True),
    Column("state", "状态", "STATE"),
    Column("attempt", "尝试", "ATTEMPT", rank=3),
    Column("max_attempts", "上限", "MAX", wide=True),
    Column("run_at", "计划时间", "RUN_AT", wide=True),
    Column("tags", "标签", "TAGS", wide=True),
    Column("worker_id", "工作进程", "WORKER", wide=True),
    Column("created_at", "提交于", "AGE", show=age, rank=2),
    Column("error.message", "错误", "ERROR", rank=4, when=_unfinished),
)
ACCEPTED = (
    Column("id", "编号", "ID"),
    Column("kind", "类型", "KIND"),
    Column("queue", "队列", "QUEUE"),
    Column("state", "状态", "STATE"),
    Column("run_at", "计划时间", "RUN_AT", rank=1),
    Column("duplicate", "重复", "DUPLICATE", wide=True),
    Column("replaced", "已替换", "REPLACED", wide=True),
)
DETAIL = (
    *COLUMNS[:4],
    Column("state", "状态", "STATE"),
    Column("attempt", "尝试", "ATTEMPT"),
    Column("max_attempts", "尝试上限", "MAX_ATTEMPTS"),
    Column("crash_count", "崩溃次数", "CRASHES"),
    Column("timeout_s", "时限", "TIMEOUT", show=duration),
    Column("run_at", "计划时间", "RUN_AT"),
    Column("expires_at", "过期时间", "EXPIRES_AT"),
    Column("started_at", "开始于", "STARTED_AT"),
    Column("finished_at", "结束于", "FINISHED_AT"),
    Column("created_at", "提交于", "CREATED_AT"),
    Column("created_by", "提交者", "CREATED_BY"),
    Column("worker_id", "工作进程", "WORKER"),
    Column("schedule_id", "计划", "SCHEDULE"),
    Column("tags", "标签", "TAGS"),
    Column("unique_key", "唯一键", "UNIQUE_KEY"),
    Column("fairness_key", "公平键", "FAIRNESS_KEY", when=lambda item: bool(item.get("fairness_key"))),
    Column("sequence_key", "序列", "SEQUENCE", when=lambda item: bool(item.get("sequence_key"))),
    Column("args", "参数", "ARGS"),
    Column("meta", "附注", "META"),
    Column("waiting", "在等什么", "WAITING", show=_reasons, when=_waits),
    Column("error", "错误", "ERROR", show=_error, when=_unfinished),
    Column("error", "此前的错误", "EARLIER_ERROR", show=_error, when=_overcome),
    Column("result", "结果", "RESULT", when=lambda item: "result" in item),
)
RESULT = (
    Column("id", "编号", "ID"),
    Column("state", "状态", "STATE"),
    Column("finished_at", "结束于", "FINISHED_AT"),
    Column("result", "结果", "RESULT"),
    Column("error", "错误", "ERROR", show=_error, when=_unfinished),
)
EXPLAIN = (
    Column("id", "编号", "ID"),
    Column("kind", "类型", "KIND"),
    Column("queue", "队列", "QUEUE"),
    Column("state", "状态", "STATE"),
    Column("waiting", "在等什么", "WAITING", show=_reasons, when=_waits),
    Column("fate", "怎样了", "FATE", show=_reasons, when=lambda item: bool(item.get("fate"))),
    Column(
        "state", "在等什么", "WAITING", show=_at_once, when=lambda item: not item.get("waiting") and not item.get("fate")
    ),
)
ATTEMPTS = (
    Column("claim_no", "认领", "CLAIM"),
    Column("attempt", "尝试", "ATTEMPT"),
    Column("cause", "原因", "CAUSE"),
    Column("error_type", "错误类型", "ERROR_TYPE", rank=2),
    Column("finished_at", "结束于", "AGE", show=age, rank=1),
    Column("worker_id", "工作进程", "WORKER", wide=True),
    Column("fingerprint", "指纹", "FINGERPRINT", wide=True),
    Column("message", "说明", "MESSAGE"),
)
STATE = (
    Column("id", "编号", "ID"),
    Column("state", "状态", "STATE"),
    Column("cancel_requested", "已请求取消", "CANCELLING"),
)
