"""The Secrets and ConfigMaps that objects name: what the plan may know of them, and the URLs that the operator itself needs.

Those labelled `taskmill.dev/watch=true` come by the watch. Others are read by name when they are needed and again every
few minutes, so the role needs no right to list the Secrets of a namespace.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.kinds import Kind
from taskmill.kube.observe.cache import version_of
from taskmill.kube.state import Manifest, SecretFact

Name = tuple[str, str]


class Reader(Protocol):
    """The one call that is needed; `KubeClient` has it."""

    async def find(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return the object or None."""
        ...


@dataclass(frozen=True, slots=True)
class _Entry:
    fact: SecretFact
    read_at: float
    watched: bool
    uid: str = ""
    version: int = 0
    data: dict[str, str] = field(default_factory=dict, repr=False)


class Secrets:
    """Facts by namespace and name, of Secrets or, read by name only, of ConfigMaps."""

    def __init__(self, reader: Reader, clock: Clock = SYSTEM_CLOCK, kind: Kind = k.SECRET) -> None:
        self._reader, self._clock, self._kind = reader, clock, kind
        self._entries: dict[Name, _Entry] = {}
        self.watching = True  # 看守能看到打了标签的 Secret；没有权限时要按名字重读

    def put(self, manifest: Manifest) -> bool:
        """Take in a Secret; returns whether its content differs from what was known."""
        metadata = manifest["metadata"]
        data: dict[str, str] = {**(manifest.get("data") or {}), **(manifest.get("binaryData") or {})}
        name, uid, version = (metadata["namespace"], metadata["name"]), str(metadata.get("uid") or ""), version_of(manifest)
        old = self._entries.get(name)
        if old is not None and old.uid == uid and version < old.version:
            return False  # 列表取得早、到得晚：旧内容会让工作进程白白换一遍
        watched = (metadata.get("labels") or {}).get(f"{names.GROUP}/watch") == "true"
        fact = SecretFact(name[1], True, frozenset(data), _digest(uid, data))
        return self._keep(name, _Entry(fact, self._clock.monotonic(), watched, uid, version, data))

    def gone(self, namespace: str, name: str) -> bool:
        """Note that a Secret is not there; returns whether that is news."""
        return self._keep((namespace, name), _Entry(SecretFact(name, False), self._clock.monotonic(), watched=False))

    def unknown(self, namespace: str, name: str) -> bool:
        """Forget a Secret that the watch no longer shows: deleted, or no longer labelled. It is read when next needed."""
        return self._entries.pop((namespace, name), None) is not None

    def doubt(self, namespace: str, name: str) -> bool:
        """Have a Secret read again when it is next needed, unless that was done lately; returns whether it will be."""
        entry = self._entries.get((namespace, name))
        if entry is None or self._clock.monotonic() - entry.read_at < c.KUBE_SECRET_MISSING_S:
            return False
        return self.unknown(namespace, name)

    def unlisted(self, namespace: str, listed: set[Name]) -> list[Name]:
        """Forget the labelled Secrets that a full list of one namespace (empty: of all) lacks; returns which."""
        lost = [
            name
            for name, entry in self._entries.items()
            if entry.watched and name not in listed and (not namespace or name[0] == namespace)
        ]
        return [name for name in lost if self.unknown(*name)]

    def _keep(self, name: Name, entry: _Entry) -> bool:
        old = self._entries.get(name)
        self._entries[name] = entry
        return old is None or old.fact != entry.fact

    async def facts(self, namespace: str, wanted: Iterable[str]) -> dict[str, SecretFact]:
        """Return the facts of these Secrets, read anew where they are unknown or old; KubeError."""
        found: dict[str, SecretFact] = {}
        for name in wanted:
            entry = self._entries.get((namespace, name))
            if entry is None or self._stale(entry):
                manifest = await self._reader.find(self._kind, namespace, name)
                if manifest is None:
                    self.gone(namespace, name)
                else:
                    self.put(manifest)
                entry = self._entries[namespace, name]
            found[name] = entry.fact
        return found

    def value(self, namespace: str, name: str, key: str) -> str | None:
        """Return one value of a Secret as text; None if it, or the key, is not there or not text."""
        entry = self._entries.get((namespace, name))
        encoded = entry.data.get(key) if entry is not None else None
        try:
            return base64.b64decode(encoded, validate=True).decode().strip() if encoded is not None else None
        except (binascii.Error, UnicodeDecodeError):
            return None

    def keep_only(self, wanted: set[Name]) -> None:
        """Forget the Secrets that no object names."""
        for name in self._entries.keys() - wanted:
            del self._entries[name]

    def _stale(self, entry: _Entry) -> bool:
        life = c.KUBE_SECRET_REFRESH_S if entry.fact.found else c.KUBE_SECRET_MISSING_S
        return not (entry.watched and self.watching) and self._clock.monotonic() - entry.read_at >= life


def _digest(uid: str, data: dict[str, str]) -> str:
    """散列会进 Deployment 的注解，看得到它的人多；以 Secret 的 uid 为密钥，看不到 Secret 的人就没法拿它试密码。"""
    return hmac.digest(uid.encode(), msgspec.json.encode(data, order="deterministic"), "sha256").hex()
