"""Tables, one per file."""

from taskmill.models.api_key import ApiKey
from taskmill.models.base import Base, metadata
from taskmill.models.dependency import EndedParent, TaskDependency
from taskmill.models.idempotency_key import IdempotencyKey
from taskmill.models.kind import Kind
from taskmill.models.rate_bucket import KeyRateBucket, RateBucket
from taskmill.models.rollup import Rollup
from taskmill.models.schedule import Schedule, ScheduleFire
from taskmill.models.scheduler import Scheduler
from taskmill.models.schema_info import SchemaInfo
from taskmill.models.sequence import SequenceKey, SequenceStop, SequenceTurn
from taskmill.models.task import Task, TaskHistory
from taskmill.models.task_attempt import TaskAttempt
from taskmill.models.task_queue import TaskQueue
from taskmill.models.unique_key import UniqueKey
from taskmill.models.worker import Worker

__all__ = [
    "ApiKey",
    "Base",
    "EndedParent",
    "IdempotencyKey",
    "KeyRateBucket",
    "Kind",
    "RateBucket",
    "Rollup",
    "Schedule",
    "ScheduleFire",
    "Scheduler",
    "SchemaInfo",
    "SequenceKey",
    "SequenceStop",
    "SequenceTurn",
    "Task",
    "TaskAttempt",
    "TaskDependency",
    "TaskHistory",
    "TaskQueue",
    "UniqueKey",
    "Worker",
    "metadata",
]
