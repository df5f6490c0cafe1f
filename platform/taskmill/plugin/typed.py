"""What `@task` makes of a function, as type checkers see it. At run time it is a TaskDefinition and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from taskmill.controls.request import TaskRequest
from taskmill.plugin.context import TaskContext
from taskmill.plugin.definition import TaskDefinition

P = ParamSpec("P")
Q = ParamSpec("Q")
A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
T_co = TypeVar("T_co", covariant=True)


class Kind(TaskDefinition[P, R_co], Generic[P, R_co, Q, T_co]):
    """A kind whose handler takes P and whose requests take Q: P without the context. Its tasks result in T."""

    def request(self, *args: Q.args, **kwargs: Q.kwargs) -> TaskRequest[T_co]:
        """Return a task to submit, from the parameters of the handler without its context."""
        return super().request(*args, **kwargs)


class _Anything:
    """没有人的类型：收得下它的参数注解的是 Any 或 object，那就认不出哪个是上下文。"""


class Decorator(Protocol):
    """Keeps the signature of the handler. The context is known as first parameter, or as second."""

    # 同一个函数合于几行时取第一行
    @overload
    def __call__(self, function: Callable[Concatenate[_Anything, Q], R], /) -> TaskDefinition[..., R]: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __call__(self, function: Callable[Concatenate[A, _Anything, Q], R], /) -> TaskDefinition[..., R]: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __call__(
        self, function: Callable[Concatenate[TaskContext, Q], Coroutine[Any, Any, T]], /
    ) -> Kind[Concatenate[TaskContext, Q], Coroutine[Any, Any, T], Q, T]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[TaskContext, Q], T], /
    ) -> Kind[Concatenate[TaskContext, Q], T, Q, T]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[A, TaskContext, Q], Coroutine[Any, Any, T]], /
    ) -> Kind[Concatenate[A, TaskContext, Q], Coroutine[Any, Any, T], Concatenate[A, Q], T]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[A, TaskContext, Q], T], /
    ) -> Kind[Concatenate[A, TaskContext, Q], T, Concatenate[A, Q], T]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> Kind[P, Coroutine[Any, Any, T], P, T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> Kind[P, T, P, T]: ...
    def __call__(self, function: Callable[..., Any], /) -> TaskDefinition[..., Any]:
        """Turn a function into a kind of task; KindError if something does not fit."""
        ...
