"""Everything that a plugin says is checked here while it comes up, so that no role stumbles over it later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from taskmill import args_schema, naming, reasons
from taskmill.errors import Code, InputError, PluginError, TaskmillError, UnfitError
from taskmill.plugin.definition import TaskDefinition, check, storable
from taskmill.plugin.manifest import Capability, Manifest
from taskmill.plugin.registry import Registry, ScheduleDefinition
from taskmill.strict_json import Encoder, NotJsonError
from taskmill.text.similar import close_to
from taskmill.timetable.schedule import check_schedule
from taskmill.timetable.timetable import Timetable
from taskmill.words import Words

_TEXTS = ("version", "requires_api", "title_en", "title_zh", "summary_en", "summary_zh")
_ENCODER = Encoder()


def check_manifest(manifest: Manifest) -> None:
    """Raise UnfitError unless every text is one that can be stored and the name fits URLs and variables."""
    if not naming.is_plugin(manifest.name):
        raise UnfitError(reasons.NOT_STORABLE(field="Manifest.name"))
    for field in _TEXTS:
        if not storable(getattr(manifest, field)):
            raise UnfitError(reasons.NOT_STORABLE(field=f"Manifest.{field}"))
    try:
        msgspec.convert(list(manifest.capabilities), list[Capability])
    except (TypeError, msgspec.ValidationError) as error:
        raise UnfitError(Words(zh=f"Manifest.capabilities：{error}", en=f"Manifest.capabilities: {error}")) from error
    try:
        msgspec.convert(manifest.log_events, dict[str, str])
    except msgspec.ValidationError as error:
        raise UnfitError(Words(zh=f"Manifest.log_events：{error}", en=f"Manifest.log_events: {error}")) from error


def check_registered(registry: Registry, plugin: str) -> None:
    """Raise PluginError PLUGIN_FAILED unless all kinds of `plugin` can work; the words name the first that cannot."""
    executors = set(registry.executors)
    for definition in registry.tasks.values():
        if registry.owners[definition.kind] == plugin:
            _check_kind(definition, executors, plugin)


def check_middlewares(middlewares: Sequence[object]) -> None:
    """Raise UnfitError unless all are taskiq middlewares."""
    if not middlewares:
        return
    from taskiq import TaskiqMiddleware  # noqa: PLC0415 - 多数插件没有中间件，命令行等不起它

    for each in middlewares:
        if not isinstance(each, TaskiqMiddleware):
            raise UnfitError(reasons.NOT_A_MIDDLEWARE(name=type(each).__name__))


def check_migrations(plugin: str, folder: Path) -> None:
    """Raise UnfitError unless the folder is there and every revision in it can be read: later it would end the role."""
    if not folder.is_dir():
        raise UnfitError(reasons.NO_FOLDER(folder=folder))
    from taskmill.stores.schema.chain import chain_of  # noqa: PLC0415 - 它带着 alembic

    try:
        chain_of(plugin, folder).revisions()
    except Exception as error:
        raise UnfitError(reasons.UNREADABLE_MIGRATIONS(folder=folder, error=f"{type(error).__name__}: {error}")) from error


def check_schedules(registry: Registry, plugin: str) -> None:
    """Raise PluginError PLUGIN_FAILED unless all schedules of `plugin` can work."""
    for schedule in registry.schedules.values():
        if schedule.plugin == plugin and (reason := bad_schedule(schedule, registry)) is not None:
            raise PluginError(Code.PLUGIN_FAILED, plugin=plugin, reason=reason)


def _check_kind(definition: TaskDefinition[..., object], executors: Iterable[str], plugin: str) -> None:
    reason: Words | None = None
    try:
        check(definition)
    except UnfitError as error:
        reason = error.words
    if reason is None and definition.executor not in executors:
        reason = reasons.UNKNOWN_EXECUTOR(name=definition.executor, known=", ".join(sorted(executors)))
    if reason is not None:
        kind = definition.kind
        reason = Words(zh=f"{kind}：{reason.zh}", en=f"{kind}: {reason.en}")
        raise PluginError(Code.PLUGIN_FAILED, plugin=plugin, reason=reason)


def bad_schedule(schedule: ScheduleDefinition, registry: Registry) -> Words | None:
    """Return what is wrong with a schedule, apart from a kind that no plugin here has."""
    try:
        _check_schedule(schedule, registry)
    except TaskmillError as error:
        field, reason = error.details.get("field"), error.details.get("reason", "")
        words = reason if isinstance(reason, Words) else Words(zh=str(reason), en=str(reason))
        words = Words(zh=f"{field}：{words.zh}", en=f"{field}: {words.en}")
        return reasons.SCHEDULE_OF(name=schedule.name, reason=words)
    return None


def _check_schedule(schedule: ScheduleDefinition, registry: Registry) -> None:
    timetable = Timetable(schedule.cron, schedule.interval_s, schedule.timezone)
    check_schedule(schedule.name, timetable, schedule.catch_up_s)
    try:
        args = msgspec.json.decode(_ENCODER.encode(schedule.args))
    except NotJsonError as error:
        raise InputError(Code.SCHEDULE_INVALID, field="args", reason=error.words) from error
    versions = [definition for definition in registry.tasks.values() if definition.kind == schedule.kind]
    if not versions:
        return
    newest = max(versions, key=lambda definition: definition.version)
    schema = newest.call.schema()
    found = next(iter(args_schema.compiled(schema).iter_errors(args)), None)
    if found is not None:
        field, reason = f"args{args_schema.where(found.instance_path)}", args_schema.told(found, args_schema.names(schema))
        raise InputError(Code.SCHEDULE_INVALID, field=field, reason=reason)


def unknown_kinds(registry: Registry, plugin: str) -> list[Words]:
    """Return what to say of the plugin's schedules whose kind no loaded plugin has; another installation may have it."""
    return [
        reasons.SCHEDULE_OF(name=schedule.name, reason=_unknown_kind(schedule.kind, registry))
        for schedule in registry.schedules.values()
        if schedule.plugin == plugin and schedule.kind not in registry.owners
    ]


def _unknown_kind(kind: str, registry: Registry) -> Words:
    names = close_to(kind, registry.owners)
    return reasons.UNKNOWN_KIND_LIKE(kind=kind, names=names) if names else reasons.UNKNOWN_KIND(kind=kind)
