"""The words for wrong input: the field by its path, the reason in both languages."""

from __future__ import annotations

import msgspec
import pytest

from taskmill.api import body
from taskmill.api.task_body import Batch
from taskmill.errors import Code, TaskmillError

DECODER = msgspec.json.Decoder(Batch)


@pytest.mark.parametrize(
    ("raw", "field", "chinese"),
    [
        (b"{}", "tasks", "缺少必填字段"),
        (b'{"tasks":[{"kind":"a.b","x":1}]}', "tasks[0].x", "没有这个字段"),
        (b'{"tasks":[{"kind":"a.b"},{"kind":7}]}', "tasks[1].kind", "应为 str，实为 int"),
        (b'{"tasks":[]}', "tasks", "长度须 >= 1"),
        (b'{"tasks":[{"kind":"a.b","run_at":"soon"}]}', "tasks[0].run_at", "不是合法的"),
        (b"[]", "body", "应为 object，实为 array"),
    ],
)
def test_msgspec_messages_become_field_and_reason(raw: bytes, field: str, chinese: str) -> None:
    with pytest.raises(TaskmillError) as raised:
        body.decode(raw, DECODER)
    assert (raised.value.code, raised.value.details["field"]) == (Code.INVALID_REQUEST, field)
    assert chinese in raised.value.details["reason"].zh
    assert not any("\u4e00" <= char <= "\u9fff" for char in raised.value.details["reason"].en)
