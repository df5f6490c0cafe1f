"""Runs claimed rows: a fast path for plain handlers, taskiq's own path for those with dependencies or middlewares."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import msgspec
from taskiq import TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.acks import AcknowledgeType
from taskiq.receiver import Receiver

from taskmill import reasons
from taskmill.engine import constants as c
from taskmill.engine.attempts.attempt import Attempt
from taskmill.engine.attempts.outcomes import completed, failed, stopped, unreadable
from taskmill.engine.broker import TaskmillBroker
from taskmill.errors import Code, PluginError, UnfitError
from taskmill.log import attempt_in_log, get_logger
from taskmill.plugin.context import TaskContext
from taskmill.plugin.definition import TaskDefinition
from taskmill.plugin.registry import Executor, Registry
from taskmill.stores.tasks.settle import Outcome
from taskmill.stores.why import why

log = get_logger(__name__)
_VALUES = (type(None), str, int, float, dict, list)  # 绝大多数结果：不必再看是不是可等待的
_HOOKS = ("pre_execute", "post_execute", "on_error")


class TaskmillReceiver(Receiver):
    """taskiq's receiver, fed with claimed rows instead of messages; acknowledging is the claimer's."""

    def __init__(
        self, broker: TaskmillBroker, registry: Registry, *, result_max_bytes: int, submit: Callable[..., Any] | None = None
    ) -> None:
        self._executors = {name: _made(name, make) for name, make in registry.executors.items()}
        super().__init__(broker, ack_type=AcknowledgeType.MANUAL, max_async_tasks=1, run_startup=False)
        self._registry = registry
        self._max_bytes = result_max_bytes
        self._submit = submit
        hooked = [m for m in broker.middlewares if any(_overrides(m, hook) for hook in _HOOKS)]
        # 每个类型只在启动时选一次路径
        self._slow = {
            key
            for key, definition in registry.tasks.items()
            if hooked or definition.call.dependencies or definition.taskiq is not None
        }

    async def execute(self, attempt: Attempt) -> Outcome | None:
        """Run one attempt to its outcome; None if the lease was lost meanwhile. Never raises but on loop shutdown."""
        definition, row = attempt.definition, attempt.row
        attempt_in_log.set((row["id"], row["kind"], row["attempt"]))
        try:
            if definition.call.context is not None:
                attempt.context = self._context(attempt)
            try:
                model = definition.call.read(row["args"])
            except UnfitError as error:
                return unreadable(attempt, error.words)
            parameters = definition.call.parameters(model)
            if (definition.kind, definition.version) in self._slow:
                result = await self._through_taskiq(attempt, parameters)
            else:
                result = await self._call(attempt, parameters)
        except asyncio.CancelledError:
            return stopped(attempt)
        except BaseException as error:  # noqa: BLE001 - 处理函数抛什么都只是一次失败的尝试
            return stopped(attempt) if attempt.stop is not None else failed(attempt, error)
        return completed(attempt, result, self._max_bytes)

    async def _call(self, attempt: Attempt, parameters: dict[str, Any]) -> Any:
        """两条路都经过这里：处理函数只由它的类型所指的执行器来跑。"""
        executor = self._executors[attempt.definition.executor]
        result = await executor.run(attempt.definition, parameters, attempt.context)  # pyright: ignore[reportArgumentType]
        if not isinstance(result, _VALUES) and inspect.isawaitable(result):
            result = await result  # 没写 async 却返回协程的函数：在循环里等它
        return result

    @property
    def exhausted(self) -> bool:
        """Say whether an executor lost so much to handlers that hang that this process should be replaced."""
        return any(getattr(executor, "exhausted", False) for executor in self._executors.values())

    async def stop(self) -> None:
        """Release the executors; one that fails or hangs costs EXECUTOR_CLOSE_S at most, and the others nothing."""
        await asyncio.gather(*(_closed(name, executor) for name, executor in self._executors.items()))

    def _context(self, attempt: Attempt) -> TaskContext:
        row = attempt.row
        return TaskContext(
            id=row["id"],
            kind=row["kind"],
            queue=row["queue"],
            claim_no=row["claim_no"],
            attempt=row["attempt"],
            max_attempts=row["max_attempts"],
            deadline=row["deadline_at"],
            meta=None if row["meta"] is None else msgspec.json.decode(row["meta"]),
            tags=tuple(row["tags"] or ()),
            submitter=self._submit,
            home=asyncio.get_running_loop(),
            result_max_bytes=self._max_bytes,
        )

    async def _through_taskiq(self, attempt: Attempt, parameters: dict[str, Any]) -> Any:
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


class _NoExecutor:
    """顶替造不出来的执行器：用它的类型逐个失败并说明原因，别的类型照常。"""

    exhausted = False

    def __init__(self, name: str, error: BaseException) -> None:
        self._name, self._error = name, error

    async def run(self, definition: TaskDefinition[..., Any], parameters: dict[str, Any], context: TaskContext) -> Any:  # noqa: ARG002 - 接口如此
        """Raise PluginError PLUGIN_FAILED."""
        reason = reasons.EXECUTOR_BROKEN(name=self._name, error=repr(self._error))
        raise PluginError(Code.PLUGIN_FAILED, plugin=definition.kind, reason=reason) from self._error

    async def close(self) -> None:
        """Hold nothing."""


def _made(name: str, make: Callable[[], Executor]) -> Executor:
    try:
        return make()
    except Exception as error:
        log.exception("执行器造不出来，用它的任务会失败", executor=name)
        return _NoExecutor(name, error)


async def _closed(name: str, executor: Executor) -> None:
    try:
        async with asyncio.timeout(c.EXECUTOR_CLOSE_S):
            await executor.close()
    except Exception as error:
        log.exception("执行器没能关好，丢下它", executor=name, error=why(error))


def _unwrap(result: TaskiqResult[Any]) -> Any:
    if result.error is not None:
        raise result.error
    return result.return_value


def _overrides(middleware: TaskiqMiddleware, hook: str) -> bool:
    return getattr(type(middleware), hook) is not getattr(TaskiqMiddleware, hook)


async def _maybe(value: Any) -> Any:
    return await value if asyncio.iscoroutine(value) or asyncio.isfuture(value) else value
