"""Path parameters that several routes share, with their words for the API description."""

from __future__ import annotations

from typing import Annotated

from litestar.params import Parameter

TaskId = Annotated[str, Parameter(description="Id of the task, a UUID.", schema_extra={"format": "uuid"})]
QueueName = Annotated[str, Parameter(description="Name of the queue.")]
KindName = Annotated[str, Parameter(description="Kind of task, such as `report.build`.")]
