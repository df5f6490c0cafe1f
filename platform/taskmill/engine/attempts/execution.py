"""Runs one attempt to its outcome: args become parameters, the kind's executor calls the handler. No taskiq, no server."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from taskmill import reasons
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.engine import constants as c
from taskmill.engine.attempts.attempt import Attempt
from taskmill.engine.attempts.outcomes import completed, failed, stopped, unreadable
from taskmill.errors import Code, PluginError, UnfitError
from taskmill.log import attempt_in_log, get_logger
from taskmill.plugin.context import TaskContext
from taskmill.plugin.definition import TaskDefinition
from taskmill.plugin.registry import Executor, Registry
from taskmill.stores.tasks.settle import Outcome
from taskmill.stores.why import why

log = get_logger(__name__)
_VALUES = (type(None), str, int, float, dict, list)  # 绝大多数结果：不必再看是不是可等待的


class Execution:
    """Runs attempts with the executors of a registry; the worker's receiver and the harness of tests are both one."""

    _slow: Collection[tuple[str, int]] = frozenset()  # 这些类型不直接调用，走 `_aside`

    def __init__(
        self,
        registry: Registry,
        *,
        result_max_bytes: int,
        submit: Callable[..., Any] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._executors = {name: _made(name, make) for name, make in registry.executors.items()}
        self._max_bytes = result_max_bytes
        self._submit = submit
        self._clock = clock

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
                result = await self._aside(attempt, parameters)
            else:
                result = await self._call(attempt, parameters)
        except asyncio.CancelledError:
            return stopped(attempt)
        except BaseException as error:  # noqa: BLE001 - 处理函数抛什么都只是一次失败的尝试
            return stopped(attempt) if attempt.stop is not None else failed(attempt, error)
        return completed(attempt, result, self._max_bytes)

    async def _aside(self, attempt: Attempt, parameters: dict[str, Any]) -> Any:
        """不直接调用的类型怎么跑，由有这种类型的子类来说；没有的，都直接调用。"""
        return await self._call(attempt, parameters)

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
            clock=self._clock,
        )


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
