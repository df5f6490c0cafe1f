"""A task that is asked for and not submitted yet: what `resize.request(url=…)` returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, Unpack

import msgspec

from taskmill.controls.options import SubmitOptions

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True)  # 没有 slots：TaskRequest[int](…) 要在实例上记下类型参数，冻结了的只容得下 AttributeError
class TaskRequest(Generic[R_co]):
    """One task to submit, and how its result is read: `R_co` is what its handler returns.

    `args` are the JSON object that the handler gets, built of dicts, lists, texts and numbers; `version` None: the newest.
    `read` makes the result of its JSON bytes.
    """

    kind: str
    args: Mapping[str, Any]
    version: int | None = None
    options: SubmitOptions = field(default_factory=SubmitOptions)
    read: Callable[[bytes], R_co] = msgspec.json.decode

    def having(self, **options: Unpack[SubmitOptions]) -> TaskRequest[R_co]:
        """Return the same with these options; those of the submit itself win over them."""
        return replace(self, options={**self.options, **options})
