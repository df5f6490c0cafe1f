"""The Secrets and ConfigMaps that objects name: what the plan may know of them, and the URLs that the operator itself needs.

Those labelled `taskmill.dev/watch=true` come by the watch. Others are read by name when they are needed and again every
few minutes, so the role needs no right to list the Secrets of a namespace. Values are kept of those that hold the URL of a
database; of all others, and of ConfigMaps, a digest.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
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
    data: dict[str, str] | None = field(default=None, repr=False)  # None：只留散列
    lacking: bool = False  # 少了要用的东西：像缺失的一样，很快再找
    doubted: bool = False  # 用到时再读一遍；读到之前，旧的照用


class Secrets:
    """Facts by namespace and name, of Secrets or, read by name only, of ConfigMaps.

    `changed` is told of what turned out to have changed when it was read by name: others name it, too. `holds_url` says
    whether the values of one that comes by the watch will be asked for.
    """

    def __init__(self, reader: Reader, clock: Clock = SYSTEM_CLOCK, kind: Kind = k.SECRET) -> None:
        self._reader, self._clock, self._kind = reader, clock, kind
        self.changed: Callable[[str, str], None] = lambda _, __: None
        self.holds_url: Callable[[str, str], bool] = lambda _, __: False
        self._entries: dict[Name, _Entry] = {}
        self._valued: set[Name] = set()  # 会被问到值的
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
        if name not in self._valued and self.holds_url(*name):
            self._valued.add(name)
        kept = data if name in self._valued else None
        return self._keep(name, _Entry(fact, self._clock.monotonic(), watched, uid, version, kept))

    def gone(self, namespace: str, name: str) -> bool:
        """Note that a Secret is not there; returns whether that is news."""
        return self._keep((namespace, name), _Entry(SecretFact(name, False), self._clock.monotonic(), watched=False))

    def unknown(self, namespace: str, name: str) -> bool:
        """Forget a Secret that the watch no longer shows: deleted, or no longer labelled. It is read when next needed."""
        return self._entries.pop((namespace, name), None) is not None

    def doubt(self, namespace: str, name: str) -> bool:
        """Have a Secret read again when it is next needed, unless that was done lately; returns whether it will be."""
        entry = self._entries.get((namespace, name))
        if entry is None or entry.doubted or self._clock.monotonic() - entry.read_at < c.KUBE_SECRET_MISSING_S:
            return False
        self._entries[namespace, name] = replace(entry, doubted=True)
        return True

    def lacks(self, namespace: str, name: str) -> None:
        """Note that something that is needed is not in it: look again as soon as for one that is missing."""
        entry = self._entries.get((namespace, name))
        if entry is not None and not entry.lacking:
            self._entries[namespace, name] = replace(entry, lacking=True)

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

    async def facts(self, namespace: str, wanted: Iterable[str], valued: Collection[str] = ()) -> dict[str, SecretFact]:
        """Return the facts of these Secrets, read anew where they are unknown or old; KubeError.

        `valued`: those of which a value may be asked for.
        """
        self._valued |= {(namespace, name) for name in valued}
        found: dict[str, SecretFact] = {}
        for name in wanted:
            entry = self._entries.get((namespace, name))
            lacks = entry is not None and entry.fact.found and entry.data is None and name in valued
            if entry is None or lacks or self._stale(entry):
                manifest = await self._reader.find(self._kind, namespace, name)
                news = self.gone(namespace, name) if manifest is None else self.put(manifest)
                if news and entry is not None:
                    self.changed(namespace, name)
                entry = self._entries[namespace, name]
            found[name] = entry.fact
        return found

    def value(self, namespace: str, name: str, key: str) -> str | None:
        """Return one value of a Secret as text; None if it, or the key, is not there or not text."""
        entry = self._entries.get((namespace, name))
        encoded = entry.data.get(key) if entry is not None and entry.data is not None else None
        try:
            return base64.b64decode(encoded, validate=True).decode().strip() if encoded is not None else None
        except (binascii.Error, UnicodeDecodeError):
            return None

    def keep_only(self, wanted: set[Name]) -> None:
        """Forget the Secrets that no object names."""
        for name in self._entries.keys() - wanted:
            del self._entries[name]
        self._valued &= wanted

    def _stale(self, entry: _Entry) -> bool:
        if entry.doubted:
            return True
        life = c.KUBE_SECRET_REFRESH_S if entry.fact.found and not entry.lacking else c.KUBE_SECRET_MISSING_S
        return not (entry.watched and self.watching) and self._clock.monotonic() - entry.read_at >= life


def _digest(uid: str, data: dict[str, str]) -> str:
    """散列会进 Deployment 的注解，看得到它的人多；以 Secret 的 uid 为密钥，看不到 Secret 的人就没法拿它试密码。"""
    return hmac.digest(uid.encode(), msgspec.json.encode(data, order="deterministic"), "sha256").hex()
