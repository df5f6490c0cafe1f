"""The names of taskiq and taskiq-redis that the engine builds on: an upgrade that moves one fails here first."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from taskiq import (
    AckableMessage,
    AsyncResultBackend,
    AsyncTaskiqDecoratedTask,
    BrokerMessage,
    TaskiqDepends,
    TaskiqMessage,
    TaskiqMiddleware,
    TaskiqResult,
)
from taskiq.abc.broker import AsyncBroker
from taskiq.acks import AcknowledgeType
from taskiq.receiver import Receiver
from taskiq_redis import RedisStreamBroker

from taskmill.engine.attempts.execution import Execution
from taskmill.engine.attempts.receiver import TaskmillReceiver
from taskmill.engine.broker import StoredResults, TaskmillBroker

OVERRIDDEN: list[tuple[type, type, set[str]]] = [
    (TaskmillBroker, RedisStreamBroker, {"__init__", "startup", "shutdown", "kick", "listen"}),
    (TaskmillReceiver, Receiver, {"__init__"}),
    (Execution, Receiver, {"__init__"}),
    (StoredResults, AsyncResultBackend, {"set_result", "is_result_ready", "get_result"}),
]
USED: list[tuple[Any, str]] = [
    (AsyncBroker, "startup"),
    (AsyncBroker, "shutdown"),
    (AsyncBroker, "register_task"),
    (AsyncBroker, "find_task"),
    (AsyncBroker, "add_middlewares"),
    (AsyncBroker, "with_result_backend"),
    (Receiver, "run_task"),
    (TaskiqMiddleware, "startup"),
    (TaskiqMiddleware, "shutdown"),
    (TaskiqMiddleware, "pre_execute"),
    (TaskiqMiddleware, "post_execute"),
    (TaskiqMiddleware, "on_error"),
    (AcknowledgeType, "MANUAL"),
]
PARAMETERS: list[tuple[Any, set[str]]] = [
    (RedisStreamBroker.__init__, {"url", "consumer_group_name", "consumer_id"}),
    (Receiver.__init__, {"broker", "ack_type", "max_async_tasks", "run_startup"}),
    (Receiver.run_task, {"target", "message"}),
    (AsyncBroker.register_task, {"func", "task_name"}),
    (TaskiqMiddleware.on_error, {"message", "result", "exception"}),
    (TaskiqMiddleware.post_execute, {"message", "result"}),
]


@pytest.mark.parametrize(("ours", "theirs", "names"), OVERRIDDEN, ids=lambda v: getattr(v, "__name__", ""))
def test_exactly_these_names_are_overridden(ours: type, theirs: type, names: set[str]) -> None:
    inherited = set(dir(theirs)) | {"__init__"}
    own = {name for name, value in vars(ours).items() if inspect.isfunction(value) and name in inherited}
    if ours is StoredResults:
        own.discard("__init__")
    assert own == names


@pytest.mark.parametrize(("owner", "name"), USED, ids=lambda v: str(getattr(v, "__name__", v)))
def test_a_name_we_build_on_exists(owner: Any, name: str) -> None:
    assert hasattr(owner, name)


@pytest.mark.parametrize(("function", "names"), PARAMETERS, ids=lambda v: getattr(v, "__qualname__", ""))
def test_a_parameter_we_give_exists(function: Any, names: set[str]) -> None:
    assert names <= set(inspect.signature(function).parameters)


def test_the_attributes_of_messages_we_read_exist() -> None:
    assert {"task_id", "task_name", "labels", "labels_types", "args", "kwargs"} <= set(TaskiqMessage.model_fields)
    assert {"is_err", "return_value", "execution_time", "error", "log", "labels"} <= set(TaskiqResult.model_fields)
    assert "message" in BrokerMessage.model_fields
    assert {"data", "ack"} <= set(getattr(AckableMessage, "model_fields", None) or AckableMessage.__annotations__)
    assert {"original_func", "task_name", "labels", "broker"} <= set(
        inspect.signature(AsyncTaskiqDecoratedTask.__init__).parameters
    )


def test_a_dependency_is_known_by_the_name_of_its_type() -> None:
    assert type(TaskiqDepends()).__name__ == "Dependency"
