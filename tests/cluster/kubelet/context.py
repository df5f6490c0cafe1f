"""What the parts of one kubelet share."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from tests.cluster.kubelet.api import Api, Json
from tests.cluster.kubelet.images import Images
from tests.cluster.kubelet.network import Network


@dataclass(frozen=True, slots=True)
class Pace:
    """Times that the real kubelet counts in minutes, in seconds."""

    back_off_s: float = 0.2  # 真的是 10 s
    back_off_max_s: float = 5.0  # 真的是 300 s
    config_retry_s: float = 0.5
    refresh_s: float = 10.0  # 卷的内容；真的是 60 s 左右
    lease_s: float = 2.0  # 真的是 10 s
    node_status_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Shared:
    """One kubelet: its API, programs, addresses and folders."""

    api: Api
    images: Images
    network: Network
    root: Path
    probes: aiohttp.ClientSession
    pace: Pace
    allocatable: dict[str, str]
    proxy_url: Callable[[str], str]  # 按命名空间
    delays: dict[str, float] = field(default_factory=dict)  # 镜像名 → 容器启动前等几秒；"" 是全部

    def delay(self, image: str) -> float:
        """Return how long a container of this image waits before it starts."""
        return self.delays.get(image, self.delays.get("", 0.0))

    def environment(self, pod: Json) -> dict[str, str]:
        """Return what every container of the pod finds in its environment."""
        server = urlsplit(self.api.cluster.server)
        port = str(server.port or 443)
        return {
            "HOME": "/root",
            "HOSTNAME": pod["metadata"]["name"],
            "LC_ALL": "C.UTF-8",
            "KUBERNETES_SERVICE_HOST": server.hostname or "",
            "KUBERNETES_SERVICE_PORT": port,
            "KUBERNETES_SERVICE_PORT_HTTPS": port,
        }

    def forced(self, pod: Json, address: str) -> dict[str, str]:
        """Return what the pod cannot override: all pods share this machine's network."""
        local = self.network.local(address)
        direct = f"127.0.0.1,localhost,{local}"
        proxy = self.proxy_url(pod["metadata"]["namespace"])
        proxied = {"HTTP_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": direct, "no_proxy": direct}
        return {"TASKMILL_BIND_HOST": local, **proxied}


@dataclass(slots=True)
class PodContext:
    """One pod: the newest object, its address, its folder, and whom to tell of a change."""

    shared: Shared
    pod: Json
    address: str
    host_address: str
    folder: Path
    changed: Callable[[], None]

    @property
    def addresses(self) -> dict[str, str]:
        """The addresses as the downward API names them."""
        return {"podIP": self.address, "hostIP": self.host_address}


def probe_session() -> aiohttp.ClientSession:
    """Return the session that probes use: a new connection each time, certificates are not checked."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connector = aiohttp.TCPConnector(ssl=context, force_close=True, limit=0)
    return aiohttp.ClientSession(connector=connector, headers={"User-Agent": "kube-probe/1"}, trust_env=False)
