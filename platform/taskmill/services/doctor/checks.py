"""What `taskmill doctor` checks, one finding per thing, each with the way to mend it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from taskmill import reasons
from taskmill.errors import Code, TaskmillError
from taskmill.plugin.host import PluginHost
from taskmill.plugin.info import PluginInfo, PluginState
from taskmill.services import constants as c
from taskmill.services.doctor import fleet, port
from taskmill.services.faults import translate
from taskmill.services.schema import migration_status
from taskmill.settings import Settings
from taskmill.stores import diagnose
from taskmill.stores.broker import trial as broker_trial
from taskmill.stores.schema import rights
from taskmill.stores.schema.chain import CORE
from taskmill.words import Words

UNWELL = Words("它说自己不健康，没有说为什么", "it says that it is not well, not why")
GOOD_POLICY = "noeviction"
GOOD_ENCODING = "UTF8"
A_ZONE = "Asia/Shanghai"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One check. `ok` null: worth knowing, nothing wrong; `fix` is empty if there is nothing to do."""

    name: str
    ok: bool | None
    detail: str | Words
    fix: str | Words = ""


async def examine(settings: Settings, host: PluginHost) -> list[Finding]:
    """Run every check; none raises, each says what it found."""
    found = await _guarded("postgresql", lambda: _postgres(settings))
    if found[0].ok:  # 连不上数据库，下面几项也无从查起
        found += await _guarded("encoding and rights", lambda: _role(settings))
        found += await _guarded("migrations", lambda: _migrations(settings, host))
    if all(finding.ok for finding in found):
        found += await _guarded("write", lambda: _write(settings))
        found += await _guarded("partitions", lambda: _partitions(settings))
        found += await _guarded("workers", lambda: _workers(settings))
        found += await _guarded("schedulers", lambda: _fleet(settings))
    database_good = all(finding.ok for finding in found if finding.name in {"postgresql", "migrations"})
    broker = await _guarded("valkey", lambda: _valkey(settings))
    found += broker
    if len(broker) > 1:  # 答了话，才谈得上用它
        found += await _guarded("dispatch", lambda: _dispatch(settings))
        if database_good:
            found += await _guarded("keys", lambda: _keys(settings))
    found += await _guarded("time zones", _zones)
    found += _plugins(host)
    for name, health in sorted((await host.health()).items()):
        fix = "" if health.ok else reasons.FIX_PLUGIN_HEALTH
        detail = health.detail or ("ok" if health.ok else UNWELL)
        # 没有毛病却有话要说（没有配置服务器）：值得知道，不打勾
        ok = None if health.ok and health.detail else health.ok
        found.append(Finding(name=f"health of {name}", ok=ok, detail=detail, fix=fix))
    found += await _guarded("api port", lambda: _port(settings))
    return found


async def _guarded(name: str, check: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    try:
        return await check()
    except Exception as error:  # noqa: BLE001 - 检查的失败就是它的结论，译成人话
        known = translate(error)
        if known is None:
            return [Finding(name=name, ok=False, detail=f"{type(error).__name__}: {error}", fix=reasons.FIX_ACCESS)]
        if known.code is Code.CONFIG_INVALID and known.details["reason"] is reasons.NOT_SET:
            fix = reasons.FIX_UNSET(field=known.details["field"])
            return [Finding(name=name, ok=False, detail=reasons.NOT_SET, fix=fix)]
        detail = known.details.get("reason") or Words(**known.message())
        return [Finding(name=name, ok=False, detail=detail, fix=_fix(known))]


def _fix(error: TaskmillError) -> str | Words:
    hint = error.hint()
    return "" if hint is None else Words(**hint)


async def _role(settings: Settings) -> list[Finding]:
    """编码与权限：没有迁移过就只看编码。"""
    facts = await rights.role_facts(settings.require_database_url())
    good = facts.encoding == GOOD_ENCODING
    found = [Finding(name="encoding", ok=good, detail=facts.encoding, fix="" if good else reasons.FIX_ENCODING)]
    fix = reasons.FIX_RIGHTS(role=facts.role) if facts.missing else ""
    return [
        *found,
        Finding(name=f"rights of {facts.role}", ok=not facts.missing, detail=", ".join(facts.missing) or "ok", fix=fix),
    ]


async def _write(settings: Settings) -> list[Finding]:
    await rights.try_writing(settings.require_database_url())
    return [Finding(name="write", ok=True, detail="ok")]


async def _dispatch(settings: Settings) -> list[Finding]:
    """把一张票据走完全程：脚本、流、组、确认、提示，角色用到的都用一遍。"""
    try:
        await broker_trial.try_dispatch(settings.require_broker_url())
    except broker_trial.BROKER_AWAY as error:
        return [Finding(name="dispatch", ok=False, detail=str(error) or type(error).__name__, fix=reasons.FIX_DISPATCH)]
    return [Finding(name="dispatch", ok=True, detail="ok")]


async def _keys(settings: Settings) -> list[Finding]:
    """有没有键被别的类型占用。"""
    queues = await diagnose.queues(settings.require_database_url())
    foreign = await broker_trial.foreign(settings.require_broker_url(), queues)
    return [Finding(name="keys", ok=not foreign, detail=", ".join(foreign) or "ok", fix=reasons.FIX_KEYS if foreign else "")]


async def _zones() -> list[Finding]:
    """计划用到的时区数据：系统没有，就得有 tzdata 这个包。"""
    try:
        ZoneInfo(A_ZONE)
    except (ZoneInfoNotFoundError, OSError) as error:
        return [Finding(name="time zones", ok=False, detail=str(error), fix="pip install tzdata")]
    return [Finding(name="time zones", ok=True, detail="ok")]


async def _postgres(settings: Settings) -> list[Finding]:
    facts = await diagnose.postgres(settings.require_database_url())
    good = facts.major >= c.MIN_POSTGRES_VERSION
    fix = "" if good else reasons.FIX_POSTGRES(version=c.MIN_POSTGRES_VERSION)
    return [Finding(name="postgresql", ok=good, detail=facts.version, fix=fix), _clock("postgresql", facts.skew_s)]


def _clock(server: str, skew_s: float) -> Finding:
    good = abs(skew_s) <= c.CLOCK_SKEW_MAX_S
    fix = "" if good else reasons.FIX_CLOCK
    return Finding(name=f"clock of {server}", ok=good, detail=f"{skew_s * 1000:+.0f} ms", fix=fix)


async def _valkey(settings: Settings) -> list[Finding]:
    facts = await diagnose.valkey(settings.require_broker_url())
    good = None if facts.policy is None else facts.policy == GOOD_POLICY
    fix = "" if good else f"CONFIG SET maxmemory-policy {GOOD_POLICY}"
    detail = reasons.VALKEY(version=facts.version, policy=facts.policy or reasons.NO_POLICY)
    return [Finding(name="valkey", ok=good, detail=detail, fix=fix), _clock("valkey", facts.skew_s)]


async def _migrations(settings: Settings, host: PluginHost) -> list[Finding]:
    chains = await migration_status(settings.require_database_url(), plugins=host.migrations())
    found: list[Finding] = []
    for chain, at in chains.items():
        name = "migrations" if chain == CORE.name else f"migrations of {chain}"
        detail = reasons.REVISION(current=at.current or reasons.EMPTY, head=at.head)
        fix = reasons.FIX_PROGRAM if not at.readable else "taskmill migrate up" if at.needed else ""
        found.append(Finding(name=name, ok=not fix, detail=detail, fix=fix))
    return found


async def _partitions(settings: Settings) -> list[Finding]:
    today, days = await diagnose.partitions(settings.require_database_url())
    present = set(days)
    last = today
    while last + timedelta(days=1) in present:
        last += timedelta(days=1)
    good = today in present and last > today
    detail = reasons.PARTITIONS(n=len(days), last=last) if today in present else reasons.NO_PARTITION_TODAY(today=today)
    fix = "" if good else reasons.FIX_PARTITIONS
    return [Finding(name="partitions", ok=good, detail=detail, fix=fix)]


async def _workers(settings: Settings) -> list[Finding]:
    held, registered = await diagnose.leases(settings.require_database_url())
    if registered == 0:
        return [Finding(name="workers", ok=None, detail=reasons.NONE_RUNS, fix="taskmill worker")]
    good = held == registered
    fix = "" if good else reasons.FIX_LEASES
    detail = reasons.LEASES(held=held, all=registered)
    return [Finding(name="workers", ok=good, detail=detail, fix=fix)]


async def _fleet(settings: Settings) -> list[Finding]:
    found = await fleet.examine(settings)
    return [Finding(name=each.name, ok=each.ok, detail=each.detail, fix=each.fix) for each in found]


def _plugins(host: PluginHost) -> list[Finding]:
    found: list[Finding] = []
    for info in host.plugins():
        bad = info.state in {PluginState.FAILED, PluginState.INCOMPATIBLE}
        ok = None if info.state is PluginState.DISABLED or (info.error and not bad) else not bad
        fix = _plugin_fix(info, bad=bad)
        found.append(Finding(name=f"plugin {info.name}", ok=ok, detail=_plugin_words(info), fix=fix))
    return found or [Finding(name="plugins", ok=None, detail=reasons.NO_PLUGINS, fix="pip install taskmill-shell")]


def _plugin_words(info: PluginInfo) -> Words:
    """导入不了的插件没有版本；原因自己会说是哪个插件。"""
    facts = [fact for fact in (info.version, info.state.value) if fact]
    zh, en = "，".join(facts), ", ".join(facts)
    return Words(zh=f"{zh}：{info.error.zh}", en=f"{en}: {info.error.en}") if info.error else Words(zh=zh, en=en)


def _plugin_fix(info: PluginInfo, *, bad: bool) -> str | Words:
    if bad:
        return reasons.FIX_PLUGIN if info.distribution else reasons.FIX_PLUGIN_MODULE
    if info.error is None:
        return ""
    return reasons.FIX_PLUGIN_HOOKS if info.error.code == Code.PLUGIN_INCOMPLETE else reasons.FIX_PLUGIN_KIND


async def _port(settings: Settings) -> list[Finding]:
    ok, detail, fix = await port.examine(settings)
    return [Finding(name="api port", ok=ok, detail=detail, fix=fix)]
