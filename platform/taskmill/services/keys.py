"""API keys: made, listed, revoked, checked. The secret is shown once; only its SHA-256 is stored."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from taskmill import constants as c
from taskmill import reasons
from taskmill.clock import SYSTEM_CLOCK, Clock, Timestamp
from taskmill.errors import Code, InputError, NotFoundError
from taskmill.ids import as_id, new_id
from taskmill.log import get_logger
from taskmill.services import constants as svc
from taskmill.services.view import view
from taskmill.stores import api_key as store
from taskmill.stores.database import Database

log = get_logger(
    __name__,
    {
        "密钥已创建": "key created",
        "密钥已吊销": "key revoked",
    },
)
KEY_SHAPE = re.compile(rf"{c.API_KEY_PREFIX}[A-Za-z0-9_-]{{43}}")  # 32 字节的 base64url


class Scope(StrEnum):
    """What a key may do; `write` includes `read`."""

    READ = "read"
    WRITE = "write"


SCOPES = frozenset(scope.value for scope in Scope)


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret."""

    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    expires_at: Timestamp | None
    revoked_at: Timestamp | None
    created_at: Timestamp


class NewKey(KeyView, frozen=True, kw_only=True):
    """A key just made; `secret` is never shown again."""

    secret: str


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes a request: `name` goes to `created_by` and the access log. `key_id` null: the development token."""

    name: str
    scopes: frozenset[Scope]
    key_id: UUID | None = None

    def may(self, scope: Scope) -> bool:
        """Say whether it has this scope."""
        return scope in self.scopes or Scope.WRITE in self.scopes


DEVELOPER = Principal(name="dev", scopes=frozenset(Scope))  # 开发令牌的持有者


@dataclass(frozen=True, slots=True)
class _Lookup:
    task: asyncio.Task[Principal | None]
    begun: float


class KeyService:
    """Keys in the database, with a short memory of the ones in use: a revocation takes effect within it."""

    def __init__(self, database: Database, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[Principal | None, float]] = OrderedDict()
        self._lookups: dict[bytes, list[_Lookup]] = {}
        self._any_until: tuple[bool, float] = (False, float("-inf"))

    async def create(
        self, name: str, scopes: Sequence[str] = (Scope.READ, Scope.WRITE), *, expires_at: datetime | None = None
    ) -> NewKey:
        """Make a key; InputError INVALID_REQUEST if the name, a scope or the time does not fit."""
        self._check(name, scopes, expires_at)
        secret = c.API_KEY_PREFIX + secrets.token_urlsafe(c.API_KEY_BYTES)
        prefix = secret[: len(c.API_KEY_PREFIX) + svc.API_KEY_PREFIX_CHARS]
        row = (new_id(), name, prefix, _hash(secret), sorted(set(scopes)), expires_at)
        made = view(NewKey, await store.add(self._database.pool, row), secret=secret)
        self._any_until = (True, float("inf"))
        log.info("密钥已创建", key_id=str(made.id), name=name, scopes=made.scopes)
        return made

    async def list(self) -> list[KeyView]:
        """Return every key, the newest first, without secrets."""
        return [view(KeyView, key) for key in await store.fetch_all(self._database.pool)]

    async def revoke(self, key: str) -> KeyView:
        """Revoke a key by id, or by the name or prefix of a key in force.

        NotFoundError KEY_NOT_FOUND; InputError INVALID_REQUEST if several are called so.
        """
        if "\x00" in key:  # PostgreSQL 存不进也问不了
            raise NotFoundError(Code.KEY_NOT_FOUND, key=key)
        async with self._database.transaction() as connection:
            found = await store.find(connection, key, as_id(key))
            if not found:
                raise NotFoundError(Code.KEY_NOT_FOUND, key=key)
            if len(found) > 1:
                raise InputError(Code.INVALID_REQUEST, field="key", reason=reasons.SAME_NAME(n=len(found)))
            revoked = view(KeyView, await store.revoke(connection, found[0]))
        self._known.clear()
        log.info("密钥已吊销", key_id=str(revoked.id), name=revoked.name)
        return revoked

    async def authenticate(self, secret: str) -> Principal | None:
        """Return who holds this secret, None if nobody does or the key has expired or was revoked."""
        if KEY_SHAPE.fullmatch(secret) is None:
            return None
        hashed = _hash(secret)
        cached = self._known.get(hashed)
        if cached is not None and self._clock.monotonic() < cached[1]:
            return cached[0]
        return await self._look_up(hashed)

    async def any_exists(self) -> bool:
        """Say whether a key was ever made: then the development token no longer opens anything."""
        known, until = self._any_until
        if self._clock.monotonic() < until:
            return known
        async with asyncio.timeout(svc.LOOKUP_TIMEOUT_S):
            found = await store.any_exists(self._database.pool)
        # 一旦有过密钥就不会再变回没有
        self._any_until = (found, float("inf") if found else self._clock.monotonic() + svc.API_KEY_CACHE_S)
        return found

    async def _look_up(self, hashed: bytes) -> Principal | None:
        """同一密钥的并发请求共用一次查询，发起者被取消不连累别人；迟迟没有结果就另起一次，谁先答就用谁的。"""
        while True:
            under_way = self._lookups.setdefault(hashed, [])
            if not under_way or self._clock.monotonic() - under_way[-1].begun >= svc.LOOKUP_SHARE_S:
                self._begin(hashed, under_way)
            tasks = {lookup.task for lookup in under_way}
            done, pending = await asyncio.wait(tasks, timeout=svc.LOOKUP_SHARE_S, return_when=asyncio.FIRST_COMPLETED)
            good = [task for task in done if not task.cancelled() and task.exception() is None]
            if good or (done and not pending):
                return (good or list(done))[0].result()

    def _begin(self, hashed: bytes, under_way: list[_Lookup]) -> None:
        lookup = _Lookup(asyncio.create_task(self._load(hashed)), self._clock.monotonic())
        under_way.append(lookup)

        def end(task: asyncio.Task[Principal | None]) -> None:
            under_way.remove(lookup)
            if not under_way:
                self._lookups.pop(hashed, None)
            if not task.cancelled():
                task.exception()  # 等的人也许都已经走了：看过，就不再有人抱怨没有看

        lookup.task.add_done_callback(end)

    async def _load(self, hashed: bytes) -> Principal | None:
        async with asyncio.timeout(svc.LOOKUP_TIMEOUT_S):
            principal, lasts = await self._find(hashed)
        self._known[hashed] = (principal, self._clock.monotonic() + lasts)
        self._known.move_to_end(hashed)
        while len(self._known) > svc.API_KEY_CACHE_MAX:
            self._known.popitem(last=False)
        return principal

    async def _find(self, hashed: bytes) -> tuple[Principal | None, float]:
        key = await store.find_usable(self._database.pool, hashed)
        if key is None or not hmac.compare_digest(key["hash"], hashed):
            return None, svc.API_KEY_CACHE_S
        lasts = svc.API_KEY_CACHE_S
        if key["expires_at"] is not None:
            lasts = min(lasts, max(0.0, (key["expires_at"] - self._clock.now()).total_seconds()))
        return principal(key["id"], key["name"], key["scopes"]), lasts

    def _check(self, name: str, scopes: Sequence[str], expires_at: datetime | None) -> None:
        if not name.strip() or len(name) > c.NAME_MAX_CHARS or "\x00" in name:
            raise InputError(Code.INVALID_REQUEST, field="name", reason=reasons.LENGTH(limit=c.NAME_MAX_CHARS))
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise InputError(Code.INVALID_REQUEST, field="scope", reason=reasons.ONE_OF(names=", ".join(Scope)))
        if expires_at is not None and (expires_at.tzinfo is None or expires_at <= self._clock.now()):
            raise InputError(Code.INVALID_REQUEST, field="expires_at", reason=reasons.IN_FUTURE)


def principal(key_id: UUID, name: str, scopes: Sequence[str]) -> Principal:
    """Return who holds a key; scopes that this program does not know are left out."""
    known = frozenset(Scope(scope) for scope in scopes if scope in SCOPES)
    return Principal(name=f"key:{name}", scopes=known, key_id=key_id)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
