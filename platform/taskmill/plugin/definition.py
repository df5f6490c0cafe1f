"""A kind of task: its name, policy and handler."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

import msgspec

from taskmill import args_schema, naming, reasons
from taskmill import constants as c
from taskmill.bounds import bad_delay
from taskmill.controls.concurrency_key import Concurrency
from taskmill.controls.fairness_key import Fairness
from taskmill.controls.request import TaskRequest
from taskmill.controls.unique import Unique
from taskmill.errors import KindError, UnfitError
from taskmill.plugin import constants as pc
from taskmill.plugin.call_plan import CallPlan, as_function, first_line
from taskmill.words import Words

if TYPE_CHECKING:
    from taskmill.plugin.typed import Decorator

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds(value: float | str | timedelta) -> float:
    """Return seconds from a number, a timedelta, or a text such as `90s`, `2m`, `1h`; ValueError otherwise."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", value)
        if match is None:
            raise UnfitError(reasons.NOT_A_DURATION(value=repr(value)))
        return float(match[1]) * _UNITS[match[2]]
    return float(value)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and when a failed attempt is repeated.

    The delay before attempt n + 1 is drawn from [0, min(`max_delay`, `base_delay` · 2^(n-1))] ("full jitter", AWS
    Architecture Blog, 2015). `retry_on` (empty: everything) and `discard_on` name exception types; the latter wins.
    """

    max_attempts: int = c.MAX_ATTEMPTS_DEFAULT
    base_delay: float = pc.BACKOFF_BASE_S
    max_delay: float = pc.BACKOFF_MAX_S
    retry_on: tuple[type[BaseException], ...] = ()
    discard_on: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        for name in ("retry_on", "discard_on"):
            given = getattr(self, name)
            types = (given,) if isinstance(given, type) else tuple(given)  # isinstance 只收元组
            if not all(isinstance(item, type) and issubclass(item, BaseException) for item in types):
                raise UnfitError(reasons.NOT_EXCEPTIONS(field=name, value=repr(given)))
            object.__setattr__(self, name, types)
        if not _whole(self.max_attempts, 1, c.MAX_ATTEMPTS_LIMIT):
            raise UnfitError(reasons.KIND_NUMBER(field="max_attempts", low=1, high=c.MAX_ATTEMPTS_LIMIT))
        for name in ("base_delay", "max_delay"):
            if (reason := bad_delay(getattr(self, name))) is not None:
                raise UnfitError(Words(zh=f"{name} {reason.zh}", en=f"{name} {reason.en}"))

    def retries(self, error: BaseException) -> bool:
        """Say whether an attempt that ended with `error`, no group of errors, may be repeated."""
        if isinstance(error, self.discard_on):
            return False
        return not self.retry_on or isinstance(error, self.retry_on)


@dataclass(frozen=True, slots=True)
class OnOom:
    """What becomes of a task whose worker was killed for want of memory: it waits in `queue`, whose workers have more.

    It still counts as a crash, so a task that no worker can hold ends as discarded.
    """

    queue: str

    def __post_init__(self) -> None:
        _check_queue(self.queue)


def _check_queue(name: Any) -> None:
    if not naming.is_queue(name):
        raise UnfitError(reasons.NOT_A_QUEUE(value=repr(name)))


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


@dataclass(frozen=True)
class TaskDefinition(Generic[P, R_co]):
    """One version of one kind. Calling it calls the handler, so that handlers stay plain functions in tests."""

    kind: str
    function: Callable[P, R_co]
    version: int = 1
    queue: str = c.QUEUE_DEFAULT
    priority: int = c.PRIORITY_DEFAULT
    timeout_s: float = c.TIMEOUT_DEFAULT_S
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    executor: str = "async"
    summary: str = ""
    on_oom: OnOom | None = None
    unique: Unique | None = None
    concurrency: Concurrency | None = None
    fairness: Fairness | None = None
    taskiq: Any = None  # 原来的 taskiq 任务；为 None 时由引擎登记

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the handler."""
        return self.function(*args, **kwargs)

    @cached_property
    def call(self) -> CallPlan:
        """Return how args become parameters of the handler."""
        return CallPlan.of(self.function)

    def request(self, *args: Any, **kwargs: Any) -> TaskRequest[Any]:
        """Return a task to submit, from the parameters of the handler without its context and its dependencies.

        TypeError if they are not its parameters; what their values must be is checked at the submit.
        """
        return TaskRequest(self.kind, self.call.asked(self.function, args, kwargs), self.version, read=self.call.read_result)


def task(
    kind: str,
    *,
    version: int = 1,
    queue: str = c.QUEUE_DEFAULT,
    priority: int = c.PRIORITY_DEFAULT,
    timeout: float | str | timedelta = c.TIMEOUT_DEFAULT_S,
    retry: RetryPolicy | None = None,
    executor: str | None = None,
    on_oom: OnOom | None = None,
    unique: Unique | None = None,
    concurrency: Concurrency | None = None,
    fairness: Fairness | None = None,
) -> Decorator:
    """Turn a function into a kind of task, `<area>.<verb>`; its first docstring line becomes the summary.

    `timeout` seconds, timedelta or text such as `2m`; `executor` defaults to `async` for coroutine functions, `thread` for others;
    `on_oom`: where to go after a death for want of memory; `unique`, `concurrency`, `fairness`: unless a submit says otherwise. KindError,
    both a ValueError and a TypeError, if something does not fit.
    """
    _check_name(kind)

    def decorate(function: Callable[P, R_co]) -> TaskDefinition[P, R_co]:
        try:
            plan = CallPlan.of(function)
            definition = TaskDefinition(
                kind=kind,
                function=as_function(function, kind, plan),
                version=version, queue=queue, priority=priority,
                timeout_s=_timeout(timeout),
                retry=retry or RetryPolicy(),
                executor=executor or ("async" if plan.coroutine else "thread"),
                summary=(inspect.getdoc(function) or "").split("\n", 1)[0],
                on_oom=on_oom, unique=unique, concurrency=concurrency, fairness=fairness,
            )  # fmt: skip
            check(definition)
        except UnfitError as error:
            raise KindError(kind, error.words) from error
        except (TypeError, ValueError) as error:  # 例如没有签名的内置函数、写错的时长
            raise KindError(kind, Words(zh=first_line(error), en=first_line(error))) from error
        return definition

    return cast("Decorator", decorate)


def _check_name(kind: str) -> None:
    if not naming.is_kind(kind):
        raise KindError(repr(kind), reasons.KIND_NAME)


def check(definition: TaskDefinition[..., Any]) -> None:
    """Raise UnfitError unless this kind can be published, submitted to and run; who makes one by hand is checked too."""
    for name, value, low, high in (
        ("version", definition.version, 1, c.VERSION_MAX),
        ("priority", definition.priority, min(c.PRIORITIES), max(c.PRIORITIES)),
    ):
        if not _whole(value, low, high):
            raise UnfitError(reasons.KIND_NUMBER(field=name, low=low, high=high))
    _check_queue(definition.queue)
    _timeout(definition.timeout_s)
    if not storable(definition.summary):
        raise UnfitError(reasons.NOT_STORABLE(field="summary"))
    plan = definition.call
    if plan.dependencies:
        from taskiq.receiver.receiver import DependencyGraph  # noqa: PLC0415  # pyright: ignore[reportPrivateImportUsage] - 慢，而多数类型用不着

        DependencyGraph(definition.function)  # worker 启动时也会画这张图，画不出来要在这里就说
    if definition.executor == "async" and not plan.coroutine and not _makes_coroutine(definition.function):
        raise UnfitError(reasons.PLAIN_ON_LOOP)
    schema = plan.schema()
    _check_controls(definition, args_schema.names(schema))
    for name, written in (("args", schema), ("return", plan.result_schema())):
        if b"\\u0000" in msgspec.json.encode(written):
            raise UnfitError(reasons.NOT_STORABLE(field=name))
    try:
        args_schema.compiled(schema)
    except ValueError as error:
        raise UnfitError(reasons.SCHEMA_BROKEN(error=first_line(error))) from error


def _check_controls(definition: TaskDefinition[..., Any], names: Collection[str]) -> None:
    unique, keys = definition.unique, {"concurrency": definition.concurrency, "fairness": definition.fairness}
    for name, control in (("unique", unique), *keys.items()):
        if control is not None and (found := control.refusal()) is not None:
            raise UnfitError(Words(zh=f"{name}.{found[0]} {found[1].zh}", en=f"{name}.{found[0]} {found[1].en}"))
    for path in [*((unique and unique.by) or ()), *(path for key in keys.values() if key for path in key.paths())]:
        if (first := path.split(".")[0]) not in names:
            raise UnfitError(reasons.NOT_IN_ARGS(name=first))


def storable(text: Any) -> bool:
    """Say whether PostgreSQL can store this text: no NUL, no lone surrogates."""
    return isinstance(text, str) and "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _makes_coroutine(function: Callable[..., Any]) -> bool:
    """包着协程函数、自己没有写 async 的函数。"""
    return inspect.iscoroutinefunction(inspect.unwrap(function))


def _timeout(value: float | str | timedelta) -> float:
    timeout = seconds(value)
    if not 0 < timeout <= c.TIMEOUT_MAX_S:
        raise UnfitError(reasons.KIND_TIMEOUT(limit=f"{c.TIMEOUT_MAX_S:g}"))
    return timeout
