"""The reference pages, each made from the code that it describes."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import click
import msgspec

from taskmill import keys
from taskmill.api.telemetry import METRICS
from taskmill.controls.queue_settings import SETTINGS, Form, Setting
from taskmill.controls.unique import Unique
from taskmill.engine.periodic.telemetry import SCHEDULER_METRICS
from taskmill.engine.telemetry import WORKER_METRICS
from taskmill.errors import ERRORS
from taskmill.kube.crd.policy import ELSEWHERE, FIELDS
from taskmill.kube.metrics import operator_metrics
from taskmill.plugin import hookspecs
from taskmill.secret import Secret
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.settings import Settings
from taskmill.telemetry import Metric

NOTE = "<!-- made by `make generate` from the code; do not edit -->"
# 提交的字段里不是控制的：任务是什么、给谁、何时
ORDINARY: Final = frozenset({"kind", "args", "version", "queue", "priority", "tags", "meta"})
OF_QUEUE = """Of a queue: `PUT /queues/{name}`, `taskmill queue set`, `TaskQueue.spec`. What is left out stays as it is; `null` (`none` on the
command line, a field that leaves the spec) takes a setting away. `paused` is set beside them (`--paused`, `stopPolicy`). `?dry_run=true`
(`--dry-run`) changes nothing and tells what a change would do to the tasks that wait."""
OF_TASK = """Of a task: fields of a submit, the same in Python and SQL. What is left out is as its kind declares it."""
EXIT_CODES = (
    (0, "done"),
    (1, "failed, or a watched task did not complete"),
    (2, "wrong usage or a refused request"),
    (3, "not found"),
    (4, "refused by state or permission"),
    (5, "a server cannot be reached"),
    (6, "several things: some done, some not"),
    (42, "a migration is wrong: repeating it will not help"),
    (43, "the database is newer than this program can read"),
    (44, "waited too long for a lock of a migration"),
    (124, "time is up"),
    (130, "interrupted, or not confirmed"),
)


def settings() -> str:
    """Return the page of environment variables."""
    rows: list[list[str]] = []
    for name, field in Settings.model_fields.items():
        variable = f"`TASKMILL_{name.upper()}`"
        rows.append([variable, _type(field.annotation), _default(field.default), field.description or ""])
    intro = "Environment variables, read once at start. Lists are comma-separated; times are seconds; sizes are bytes."
    return _page("Settings", intro, _table(("variable", "type", "default", "meaning"), rows))


def _type(annotation: object) -> str:
    text = re.sub(r"\b(?:typing|pathlib|taskmill\.secret)\.", "", inspect.formatannotation(annotation))
    return f"`{text.replace(Secret.__name__, 'secret').replace(' | None', '')}`"


def _default(value: object) -> str:
    if value is None or value == []:
        return "-"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def errors() -> str:
    """Return the page of error codes."""
    rows = [
        [
            f"`{code.value}`",
            str(spec.status),
            str(spec.exit_code),
            f"{spec.zh}<br>{spec.en}",
            f"{spec.hint_zh}<br>{spec.hint_en}" if spec.hint_en else "",
        ]
        for code, spec in ERRORS.items()
    ]
    intro = "Every code that the API and the command line answer with. Names in braces are filled from `details`."
    return _page("Errors", intro, _table(("code", "HTTP status", "exit code", "message", "hint"), rows))


def commands() -> str:
    """Return the page of the command line."""
    from taskmill.cli.main import root

    codes = _table(("exit code", "meaning"), [[str(code), text] for code, text in EXIT_CODES])
    intro = "Results go to standard output, everything else to standard error.\n\n" + codes
    return _page("Command line", intro, "\n\n".join(_command(path, command) for path, command in walk(root)))


def walk(command: click.Command, path: str = "taskmill") -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its full name, groups before what is in them."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from walk(found, f"{path} {name}")


def _command(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path)
    usage = " ".join(command.collect_usage_pieces(context))
    rows: list[list[str]] = []
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            record = parameter.get_help_record(context)
            if record is not None:
                rows.append([f"`{record[0]}`", record[1]])
    parts = [f"## `{path}`", f"```\n{path} {usage}\n```", inspect.cleandoc(command.help or "")]
    return "\n\n".join([*parts, *([_table(("option", "meaning"), rows)] if rows else [])])


def redis_keys() -> str:
    """Return the page of Valkey keys."""
    samples = {"queue": "<queue>", "priority": "<priority>", "worker_id": "<worker id>"}
    rows: list[list[str]] = []
    for name, function in inspect.getmembers(keys, inspect.isfunction):
        if function.__module__ == keys.__name__:
            given = [samples[parameter] for parameter in inspect.signature(function).parameters]
            rows.append([f"`{function(*given)}`", f"`keys.{name}`", _one_line(function)])
    intro = f"Everything that is written to Valkey. The consumer group of every stream is `{keys.GROUP}`."
    return _page("Valkey keys", intro, _table(("key", "made by", "content"), rows))


def metrics() -> str:
    """Return the page of Prometheus metrics."""
    worker = (
        "## Workers\n\nServed at `/metrics` of a worker's health endpoint (`TASKMILL_WORKER_HEALTH_PORT`), beside `/healthz` "
        "and `/readyz`.\n\n"
    )
    scheduler = (
        "## Schedulers\n\nServed at `/metrics` of a scheduler's health endpoint (`TASKMILL_SCHEDULER_HEALTH_PORT`), beside "
        "`/healthz`.\n\n"
    )
    operator = "## Operator\n\nServed at `/metrics` of the operator (`TASKMILL_OPERATOR_HEALTH_PORT`), beside `/healthz` and `/readyz`.\n\n"
    parts = (
        _metrics(METRICS),
        worker + _metrics(WORKER_METRICS),
        scheduler + _metrics(SCHEDULER_METRICS),
        operator + _metrics(operator_metrics()),
    )
    return _page("Metrics", "Served at `/metrics` by the api role.", "\n\n".join(parts))


def _metrics(metrics: Iterable[Metric]) -> str:
    rows = [
        [f"`{metric.name}`", metric.type, ", ".join(f"`{label}`" for label in metric.labels) or "-", metric.help]
        for metric in metrics
    ]
    return _table(("name", "type", "labels", "meaning"), rows)


def hooks() -> str:
    """Return the page of plugin hooks."""
    blocks: list[str] = []
    for name, function in vars(hookspecs).items():
        if name.startswith(f"{hookspecs.PROJECT}_") and inspect.isfunction(function):
            word = "async def" if inspect.iscoroutinefunction(function) else "def"
            signature = str(inspect.signature(function)).replace("'", "")
            blocks.append(f"## `{name}`\n\n```python\n{word} {name}{signature}\n```\n\n{inspect.getdoc(function)}")
    intro = "What a plugin may implement, with `from taskmill.plugin import hookimpl`."
    return _page("Plugin hooks", intro, "\n\n".join(blocks))


def controls() -> str:
    """Return the page of what a queue can be set to and a task can ask for."""
    rows = [_setting(setting) for setting in SETTINGS.values()]
    queue = _table(("setting", "command line", "`TaskQueue.spec`", "range", "meaning", "意思"), rows)
    task = _table(("field", "meaning"), list(_fields(SubmitRequest, "")))
    return _page("Controls", OF_QUEUE, f"{queue}\n\n{OF_TASK}\n\n{task}")


def _setting(setting: Setting) -> list[str]:
    field = ELSEWHERE.get(setting.name) or FIELDS[setting.name]
    spec = ("" if setting.name in ELSEWHERE else "policy.") + _camel(field)
    bound = setting.bound
    scope = (
        "`{limit, period_s, burst}`" if setting.form is Form.RATE or bound is None else f"{bound.low:.0f} – {bound.high:.0f}"
    )
    zh = f"{setting.meaning.zh}不设：{setting.absent.zh}"
    return [f"`{setting.name}`", f"`{setting.option}`", f"`{spec}`", scope, setting.says("Null"), zh]


def _fields(record: type[msgspec.Struct], prefix: str) -> Iterator[list[str]]:
    for known in msgspec.structs.fields(record):
        if not prefix and known.name in ORDINARY:
            continue
        yield [f"`{prefix}{known.encode_name}`", _description(known.type) or "–"]
        if known.name == "unique":
            yield from _fields(Unique, "unique.")


def _description(hint: Any) -> str:
    """字段说明里写的话；写在可空的一支里也找得到。"""
    for each in (hint, *typing.get_args(hint)):
        for meta in getattr(each, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta) and meta.description:
                return meta.description
    return ""


def _camel(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(part.title() for part in rest)


def _one_line(function: object) -> str:
    return " ".join((inspect.getdoc(function) or "").split())


def _page(title: str, intro: str, body: str) -> str:
    return f"# {title}\n\n{NOTE}\n\n{intro}\n\n{body}\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
