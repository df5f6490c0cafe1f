"""The kinds that tasks may have: published from plugins, cached for checks of args."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec

from taskmill import args_schema, reasons
from taskmill.clock import Clock
from taskmill.controls.concurrency_key import Concurrency
from taskmill.controls.fairness_key import Fairness
from taskmill.controls.unique import Unique
from taskmill.errors import Code, InputError, NotFoundError, SetupError
from taskmill.log import get_logger
from taskmill.plugin.definition import TaskDefinition
from taskmill.plugin.registry import Registry
from taskmill.services import constants as c
from taskmill.stores import kind as store
from taskmill.stores.database import MISSING_SCHEMA, Database
from taskmill.text.similar import did_you_mean
from taskmill.words import Words

log = get_logger(__name__)


async def publish(database: Database, registry: Registry) -> None:
    """Write every registered kind to PostgreSQL, so that the API can check args without the plugin."""
    rows = [
        store.KindRow(
            kind=definition.kind,
            version=definition.version,
            plugin=registry.owners[definition.kind],
            plugin_version=registry.versions.get(registry.owners[definition.kind], ""),
            summary=definition.summary,
            queue=definition.queue,
            priority=definition.priority,
            max_attempts=definition.retry.max_attempts,
            timeout_ms=round(definition.timeout_s * 1000),
            executor=definition.executor,
            args_schema=msgspec.json.encode(definition.call.schema()),
            result_schema=_encoded(definition.call.result_schema()),
            on_oom_queue=definition.on_oom.queue if definition.on_oom else None,
            controls=_controls(definition),
        )
        for definition in registry.tasks.values()
    ]
    if rows:
        await database.unit(lambda connection: store.publish(connection, rows))


class Controls(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a kind declares of its tasks, as it stands in the table; what a newer program wrote there besides is skipped."""

    unique: Unique | None = None
    concurrency: Concurrency | None = None
    fairness: Fairness | None = None


def _controls(definition: TaskDefinition[..., Any]) -> bytes:
    controls = Controls(unique=definition.unique, concurrency=definition.concurrency, fairness=definition.fairness)
    return msgspec.json.encode(controls)


def policy_of(definition: TaskDefinition[..., Any]) -> KindPolicy:
    """Return a kind as submit would see it once it is published."""
    return KindPolicy(
        store.KindDefaults(
            kind=definition.kind,
            version=definition.version,
            queue=definition.queue,
            priority=definition.priority,
            max_attempts=definition.retry.max_attempts,
            timeout_ms=round(definition.timeout_s * 1000),
            args_schema=msgspec.json.encode(definition.call.schema()),
            controls=_controls(definition),
        )
    )


def _encoded(schema: dict[str, Any] | None) -> bytes | None:
    return None if schema is None else msgspec.json.encode(schema)


class KindPolicy:
    """One kind as submit sees it: defaults and a compiled validator."""

    __slots__ = (
        "concurrency",
        "fairness",
        "kind",
        "max_attempts",
        "names",
        "priority",
        "queue",
        "timeout_ms",
        "unique",
        "validator",
        "version",
    )

    def __init__(self, row: store.KindDefaults) -> None:
        self.kind, self.version, self.queue, self.priority = row.kind, row.version, row.queue, row.priority
        self.max_attempts, self.timeout_ms = row.max_attempts, row.timeout_ms
        controls = msgspec.json.decode(row.controls, type=Controls)
        self.unique, self.concurrency, self.fairness = controls.unique, controls.concurrency, controls.fairness
        schema = msgspec.json.decode(row.args_schema)
        self.names = args_schema.names(schema)
        try:
            self.validator = args_schema.compiled(schema)
        except ValueError as error:  # 一个插件的坏样式不能挡住别的类型
            log.error("参数的 JSON Schema 无法编译", kind=row.kind, error=str(error))  # noqa: TRY400
            self.validator = None

    def check(self, args: Any) -> None:
        """Raise InputError ARGS_INVALID that names the field and the reason."""
        if self.validator is None:
            raise InputError(Code.ARGS_INVALID, field="args", reason=reasons.SCHEMA_OF_OLD, kind=self.kind)
        if self.validator.is_valid(args):
            return
        error = next(iter(self.validator.iter_errors(args)))
        path = f"args{args_schema.where(error.instance_path)}"
        raise InputError(Code.ARGS_INVALID, field=path, reason=args_schema.told(error, self.names), kind=self.kind)

    def refusals(self, args: Any) -> list[tuple[args_schema.Path, Words]]:
        """Return all that `check` would refuse, each with its path; nothing if the schema itself cannot be used."""
        return [] if self.validator is None else args_schema.refusals(self.validator, args, self.names)


class KindTable:
    """Kinds by name and version, as a submit asks for them."""

    def __init__(self, policies: Iterable[KindPolicy] = ()) -> None:
        self.kinds = {(policy.kind, policy.version): policy for policy in policies}
        self._latest: dict[str, KindPolicy] = {}
        for (kind, version), policy in self.kinds.items():
            if kind not in self._latest or self._latest[kind].version < version:
                self._latest[kind] = policy

    def find(self, kind: str, version: int | None) -> KindPolicy | None:
        """Return the policy of `kind` (its newest version if None), None if there is no such kind."""
        return self._latest.get(kind) if version is None else self.kinds.get((kind, version))

    def absent(self, kind: str, version: int | None) -> NotFoundError:
        """Return the error KIND_NOT_FOUND, with what there is instead."""
        asked_for = kind if version is None else f"{kind}:{version}"
        return NotFoundError(Code.KIND_NOT_FOUND, kind=asked_for, known=self._close_to(kind))

    def _close_to(self, kind: str) -> Words | str:
        """版本不对就说有哪些版本，名字不对就说相近的名字。"""
        versions = [f"{name}:{number}" for name, number in self.kinds if name == kind]
        return reasons.DID_YOU_MEAN(names=", ".join(versions)) if versions else did_you_mean(kind, self._latest)


class KindCache:
    """Kinds read from PostgreSQL, at most KIND_CACHE_S seconds old; an unknown kind reads them again at once."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._table = KindTable()
        self._rows: dict[tuple[str, int], store.KindDefaults] = {}
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    def peek(self, kind: str, version: int | None) -> KindPolicy | None:
        """Return the policy if it is cached and fresh, without waiting."""
        if self._clock.monotonic() - self._read_at > c.KIND_CACHE_S:
            return None
        return self._table.find(kind, version)

    async def get(self, kind: str, version: int | None) -> KindPolicy:
        """Return the policy of `kind` (its newest version if None); NotFoundError KIND_NOT_FOUND."""
        found = await self.find(kind, version)
        if found is None:
            raise self._table.absent(kind, version)
        return found

    async def find(self, kind: str, version: int | None) -> KindPolicy | None:
        """The same, but None if there is no such kind: looking for names like it costs more than all else."""
        found = self.peek(kind, version)
        if found is None:
            asked = self._clock.monotonic()
            # 排队也算在时限里：前一个人卡住，后面的不必接着卡
            async with asyncio.timeout(c.LOOKUP_TIMEOUT_S), self._lock:
                if self._read_at <= asked:
                    await self._read()
            found = self._table.find(kind, version)
        return found

    async def _read(self) -> None:
        begun = self._clock.monotonic()  # 从开始读算起：读的途中才公布的类型，不算看过
        try:
            rows = {(row.kind, row.version): row for row in await store.load(self._database.pool)}
        except MISSING_SCHEMA as error:
            raise SetupError(Code.SCHEMA_BEHIND, found="empty", expected="head") from error
        known = self._table.kinds
        self._table = KindTable(known[key] if self._rows.get(key) == row else KindPolicy(row) for key, row in rows.items())
        self._rows = rows
        self._read_at = begun
