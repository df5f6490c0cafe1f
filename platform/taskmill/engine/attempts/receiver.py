"""Runs claimed rows: a fast path for plain handlers, taskiq's own path for those with dependencies or middlewares."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from taskiq import TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.acks import AcknowledgeType
from taskiq.receiver import Receiver

from taskmill.engine.attempts.attempt import Attempt
from taskmill.engine.attempts.execution import Execution
from taskmill.engine.broker import TaskmillBroker
from taskmill.plugin.registry import Registry

_HOOKS = ("pre_execute", "post_execute", "on_error")


class TaskmillReceiver(Execution, Receiver):
    """taskiq's receiver, fed with claimed rows instead of messages; acknowledging is the claimer's."""

    def __init__(
        self, broker: TaskmillBroker, registry: Registry, *, result_max_bytes: int, submit: Callable[..., Any] | None = None
    ) -> None:
        Execution.__init__(self, registry, result_max_bytes=result_max_bytes, submit=submit)
        Receiver.__init__(self, broker, ack_type=AcknowledgeType.MANUAL, max_async_tasks=1, run_startup=False)
        hooked = [m for m in broker.middlewares if any(_overrides(m, hook) for hook in _HOOKS)]
        # 每个类型只在启动时选一次路径
        self._slow = {
            key
            for key, definition in registry.tasks.items()
            if hooked or definition.call.dependencies or definition.taskiq is not None
        }

    async def _aside(self, attempt: Attempt, parameters: dict[str, Any]) -> Any:
        """中间件与依赖都按 taskiq 的次序走；只有取信与确认是我们的。"""
        definition = attempt.definition
        message = TaskiqMessage.model_construct(
            task_id=str(attempt.row["id"]),
            task_name=definition.kind,
            labels={"attempt": attempt.row["attempt"]},
            labels_types={},
            args=[],
            kwargs=parameters,
        )
        for middleware in self.broker.middlewares:
            if _overrides(middleware, "pre_execute"):
                message = await _maybe(middleware.pre_execute(message))
        result = await self.run_task(self._target(attempt), message)
        for middleware in reversed(self.broker.middlewares):
            if _overrides(middleware, "post_execute"):
                await _maybe(middleware.post_execute(message, result))
        return _unwrap(result)

    def _target(self, attempt: Attempt) -> Callable[..., Any]:
        """依赖图按类型名存着，来自处理函数；真正执行的仍是这个类型的执行器。"""
        definition = attempt.definition
        if definition.kind not in self.known_tasks:
            self._prepare_task(definition.kind, definition.function)

        async def target(**parameters: Any) -> Any:
            return await self._call(attempt, parameters)

        return target


def _unwrap(result: TaskiqResult[Any]) -> Any:
    if result.error is not None:
        raise result.error
    return result.return_value


def _overrides(middleware: TaskiqMiddleware, hook: str) -> bool:
    return getattr(type(middleware), hook) is not getattr(TaskiqMiddleware, hook)


async def _maybe(value: Any) -> Any:
    return await value if asyncio.iscoroutine(value) or asyncio.isfuture(value) else value
