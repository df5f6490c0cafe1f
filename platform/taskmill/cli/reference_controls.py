"""docs/reference/controls.md, from the declarations: what a queue can be set to and a task can ask for, in all doors."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from taskmill.controls.queue_settings import SETTINGS, Form, Setting
from taskmill.controls.unique import Unique
from taskmill.kube.crd.policy import ELSEWHERE, FIELDS
from taskmill.services.tasks.submit_request import SubmitRequest

NOTE: Final = "<!-- made by `make generate` from the code; do not edit -->"
# 提交的字段里不是控制的：任务是什么、给谁、何时
ORDINARY: Final = frozenset({"kind", "args", "version", "queue", "priority", "tags", "meta"})
INTRO = """Of a queue: `PUT /queues/{name}`, `taskmill queue set`, `TaskQueue.spec`. What is left out stays as it is; `null` (`none` on the
command line, a field that leaves the spec) takes a setting away. `paused` is set beside them (`--paused`, `stopPolicy`). `?dry_run=true`
(`--dry-run`) changes nothing and tells what a change would do to the tasks that wait."""
OF_TASK = """Of a task: fields of a submit, the same in Python and SQL. What is left out is as its kind declares it."""


def page() -> str:
    """Return the page."""
    queue = "\n".join(
        [*_head("setting", "command line", "`TaskQueue.spec`", "range", "meaning", "意思"), *map(_row, SETTINGS.values())]
    )
    task = "\n".join([*_head("field", "meaning"), *_fields(SubmitRequest, "")])
    return f"# Controls\n\n{NOTE}\n\n{INTRO}\n\n{queue}\n\n{OF_TASK}\n\n{task}\n"


def _head(*cells: str) -> Iterator[str]:
    yield f"| {' | '.join(cells)} |"
    yield f"| {' | '.join('---' for _ in cells)} |"


def _row(setting: Setting) -> str:
    field = ELSEWHERE.get(setting.name) or FIELDS[setting.name]
    spec = ("" if setting.name in ELSEWHERE else "policy.") + _camel(field)
    bound = setting.bound
    scope = (
        "`{limit, period_s, burst}`" if setting.form is Form.RATE or bound is None else f"{bound.low:.0f} – {bound.high:.0f}"
    )
    zh = f"{setting.meaning.zh}不设：{setting.absent.zh}"
    return f"| `{setting.name}` | `{setting.option}` | `{spec}` | {scope} | {setting.says('Null')} | {zh} |"


def _fields(record: type[msgspec.Struct], prefix: str) -> Iterator[str]:
    for known in msgspec.structs.fields(record):
        if not prefix and known.name in ORDINARY:
            continue
        yield f"| `{prefix}{known.encode_name}` | {_words(known.type) or '–'} |"
        if known.name == "unique":
            yield from _fields(Unique, "unique.")


def _words(hint: Any) -> str:
    """字段说明里写的话；写在可空的一支里也找得到。"""
    for each in (hint, *typing.get_args(hint)):
        for meta in getattr(each, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta) and meta.description:
                return meta.description
    return ""


def _camel(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(part.title() for part in rest)
