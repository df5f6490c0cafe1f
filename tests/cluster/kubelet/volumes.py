"""The volumes of a pod as folders of this machine, written like the real kubelet does: `..data` is swapped at once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.kubelet.api import Json
from tests.cluster.kubelet.fields import field, resource
from tests.cluster.kubelet.references import ConfigError, References

TOKEN_S = 3607
RENEW_AT = 0.8  # 寿命过了这么多就换，同真的一样
DATA = "..data"
LIVE = ("secret", "configMap", "downwardAPI", "projected")  # 内容会变、要刷新的种类


class Volumes:
    """The volumes of one pod below `root`."""

    def __init__(
        self, pod: Json, root: Path, references: References, addresses: Mapping[str, str], allocatable: Mapping[str, str]
    ) -> None:
        self._pod = pod
        self._root = root
        self._references = references
        self._addresses = addresses
        self._allocatable = allocatable
        self._tokens: dict[str, tuple[bytes, float]] = {}  # 按受众：令牌、何时该换

    async def make(self, pod: Json) -> None:
        """Write all volumes, or bring them up to date; raises ConfigError if a Secret or ConfigMap is missing."""
        self._pod = pod
        for volume in pod["spec"].get("volumes") or []:
            kind = next(key for key in volume if key != "name")
            path = self._root / volume["name"]
            if kind in LIVE:
                _swap(path, await self._files(kind, volume[kind]))
            elif kind == "emptyDir":
                path.mkdir(parents=True, exist_ok=True)
                path.chmod(0o777)
            elif kind != "hostPath":
                raise ConfigError(f"volumes of the sort {kind} are not supported")

    def source(self, mount: Json) -> Path:
        """Return the folder or file behind a volumeMount."""
        volume = next(item for item in self._pod["spec"]["volumes"] if item["name"] == mount["name"])
        path = Path(volume["hostPath"]["path"]) if "hostPath" in volume else self._root / mount["name"]
        if below := mount.get("subPath"):
            path = path / below
            if not path.exists():
                path.mkdir(parents=True)
        return path.resolve()

    async def _files(self, kind: str, source: Json) -> dict[str, bytes]:
        if kind == "projected":
            files: dict[str, bytes] = {}
            for part in source.get("sources") or []:
                for name, content in part.items():
                    files |= await self._files(name, content)
            return files
        if kind == "downwardAPI":
            return {item["path"]: self._downward(item).encode() for item in source.get("items") or []}
        if kind == "serviceAccountToken":
            return {source["path"]: await self._token(source)}
        plural, name = ("secrets", "secretName") if kind == "secret" else ("configmaps", "name")
        # projected 里的 secret 用 name，单独的卷用 secretName
        wanted = source.get(name) or source.get("name", "")
        data = await self._references.data(plural, wanted, optional=bool(source.get("optional")))
        return _chosen(data or {}, source.get("items"), optional=bool(source.get("optional")), name=wanted)

    def _downward(self, item: Json) -> str:
        if reference := item.get("fieldRef"):
            return field(self._pod, reference["fieldPath"], self._addresses)
        reference = item["resourceFieldRef"]
        container = next(c for c in self._pod["spec"]["containers"] if c["name"] == reference["containerName"])
        return resource(container, reference, self._allocatable)

    async def _token(self, source: Json) -> bytes:
        meta, spec = self._pod["metadata"], self._pod["spec"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]}
        request: Json = {"expirationSeconds": source.get("expirationSeconds", TOKEN_S), "boundObjectRef": bound}
        if audience := source.get("audience"):
            request["audiences"] = [audience]
        known, renewal = self._tokens.get(audience or "", (b"", 0.0))
        if time.monotonic() < renewal:
            return known
        account = spec.get("serviceAccountName") or "default"
        answer = await self._references.api.request(
            "POST",
            f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{account}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": request},
        )
        token = answer["status"]["token"].encode()
        self._tokens[audience or ""] = token, time.monotonic() + request["expirationSeconds"] * RENEW_AT
        return token


def _chosen(data: dict[str, bytes], items: list[Json] | None, *, optional: bool, name: str) -> dict[str, bytes]:
    if not items:
        return data
    missing = [item["key"] for item in items if item["key"] not in data]
    if missing and not optional:
        raise ConfigError(f"{name} has no key {missing[0]}")
    return {item["path"]: data[item["key"]] for item in items if item["key"] in data}


def _swap(path: Path, files: Mapping[str, bytes]) -> None:
    """Make `path` show exactly `files`; readers see all of the old ones or all of the new ones."""
    path.mkdir(parents=True, exist_ok=True)
    current = path / DATA
    if current.exists() and _content(current) == dict(files):
        return
    number = int(current.readlink().name.rpartition("-")[2]) + 1 if current.is_symlink() else 0
    fresh = path / f"..version-{number}"
    for name, content in files.items():
        target = fresh / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    fresh.mkdir(exist_ok=True)
    link = path / "..data_tmp"
    link.symlink_to(fresh.name)
    link.replace(current)
    top = {name.partition("/")[0] for name in files}
    for name in top:
        if not (path / name).is_symlink():
            (path / name).symlink_to(f"{DATA}/{name}")
    for old in path.iterdir():
        if old.is_symlink() and old.name not in top and old.name != DATA:
            old.unlink()
        elif old.name.startswith("..version-") and old != fresh:
            shutil.rmtree(old)


def _content(folder: Path) -> dict[str, bytes]:
    real = folder.resolve()
    return {str(file.relative_to(real)): file.read_bytes() for file in real.rglob("*") if file.is_file()}
