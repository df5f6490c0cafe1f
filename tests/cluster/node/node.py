"""The node: containerd, kubelet and kube-proxy as children of this process, joined to a control plane."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from tests.cluster.components import IN_FOLDER, Component
from tests.cluster.node import images, programs, settings
from tests.cluster.node.inside import NODE_IP
from tests.cluster.node.network import Names
from tests.cluster.plane import ControlPlane, Flags

NAME: Final = "real-node"
READY: Final = "--timeout=80s"
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - 在自己的网络名字空间里
KUBELET_CLIENT: Final = ("kube-apiserver", ("system:masters",))


class NodeProgram(Component):
    """A program of the node; it ends in order, so that its files are whole when it starts again."""

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    health: ClassVar[str] = "/healthz"

    def _command(self) -> list[str]:
        if config := self._config():
            (self.root / "config.json").write_text(json.dumps(config))
        (name,) = self.executables
        flags = [f"--{flag}={value}" for flag, value in {**self.flags(), **self.settings}.items()]
        return ["/bin/sh", "-c", IN_FOLDER, str(self.home), str(programs.folder() / name), *flags]

    def _config(self) -> dict[str, Any]:
        """What the file `config.json` has, if the program reads one; now the port is known."""
        return {}


class Containerd(NodeProgram):
    """The runtime; `control` is its command line."""

    name: ClassVar[str] = "containerd"
    executables: ClassVar[frozenset[str]] = frozenset({"containerd"})

    def flags(self) -> Mapping[str, str]:
        """Return the flags."""
        return {"config": str(self.root / "config.toml")}

    def control(self, *arguments: str) -> str:
        """Run `ctr` in the namespace of Kubernetes. Raises CalledProcessError."""
        command = [str(programs.folder() / "ctr"), "--address", settings.SOCKET, "--namespace", "k8s.io", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def load(self, name: str) -> None:
        """Take in an image from its archive."""
        self.control("images", "import", str(images.archive(name)))

    def tag(self, name: str, other: str) -> None:
        """Give an image one more name."""
        self.control("images", "tag", "--force", name, other)

    def containers(self) -> list[str]:
        """Return the ids of all containers, those of pods' sandboxes too."""
        return self.control("containers", "list", "--quiet").split()

    def _prepare(self) -> None:
        super()._prepare()
        (self.root / "cni").mkdir(exist_ok=True)
        (self.root / "cni" / "pods.conflist").write_text(settings.network())
        (self.root / "config.toml").write_text(settings.containerd(self.root))

    def _is_ready(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(settings.SOCKET)
            except OSError:
                return False
        return True


class Kubelet(NodeProgram):
    """The kubelet of the node NAME."""

    name: ClassVar[str] = "kubelet"
    executables: ClassVar[frozenset[str]] = frozenset({"kubelet"})

    def __init__(self, root: Path, plane: ControlPlane) -> None:
        super().__init__(root)
        self._plane = plane

    def flags(self) -> Mapping[str, str]:
        """Return the flags; what is not a flag is in the configuration."""
        return {
            "config": str(self.root / "config.json"),
            "hostname-override": NAME,
            "kubeconfig": str(self._plane.user_kubeconfig(f"system:node:{NAME}", "system:nodes")),
            "node-ip": NODE_IP,
            "root-dir": str(self.root / "data"),
        }

    def _config(self) -> dict[str, Any]:
        (self.root / "resolv.conf").write_text("")
        return settings.kubelet(self.root, self._plane.authority.certificate, self.port)


class KubeProxy(NodeProgram):
    """The addresses of Services."""

    name: ClassVar[str] = "kube-proxy"
    executables: ClassVar[frozenset[str]] = frozenset({"kube-proxy"})

    def __init__(self, root: Path, plane: ControlPlane) -> None:
        super().__init__(root)
        self._plane = plane

    def flags(self) -> Mapping[str, str]:
        """Return the flags."""
        return {"config": str(self.root / "config.json"), "hostname-override": NAME}

    def _config(self) -> dict[str, Any]:
        return settings.kube_proxy(self._plane.user_kubeconfig("system:kube-proxy"), self.port)


def flags_of_plane(root: Path) -> Flags:
    """Return the flags that a control plane in `root` needs for a real node: pods reach it, and it reaches the kubelet."""
    authority = ControlPlane(root).authority
    authority.prepare()
    certificate, key = authority.client(*KUBELET_CLIENT)
    login = {"kubelet-client-certificate": str(certificate), "kubelet-client-key": str(key)}
    return {"kube-apiserver": {"bind-address": EVERYWHERE, "kubelet-preferred-address-types": "InternalIP", **login}}


class Node:
    """A node of a control plane, ready as a context manager."""

    def __init__(self, root: Path, plane: ControlPlane) -> None:
        self._plane = plane
        self.containerd = Containerd(root / "containerd")
        self.kubelet = Kubelet(root / "kubelet", plane)
        self.proxy = KubeProxy(root / "kube-proxy", plane)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.containerd)
            for image in (images.PAUSE, images.TASKMILL):
                self.containerd.load(image)
            stack.enter_context(self.kubelet)
            self._publish_api()
            stack.enter_context(self.proxy)
            stack.enter_context(Names(self._plane))
            self._plane.kubectl("wait", "--for=create", f"node/{NAME}", READY)
            self._plane.kubectl("wait", "--for=condition=Ready", f"node/{NAME}", READY)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def _publish_api(self) -> None:
        """API 服务器自己不登记（它在 127.0.0.1 上），由我们说它在节点的地址上。"""
        labels = {"kubernetes.io/service-name": "kubernetes"}
        item = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [NODE_IP], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": self._plane.api.port, "protocol": "TCP"}],
        }
        self._plane.commands.kubectl("apply", "-f", "-", stdin=json.dumps(item))
        grant = ("clusterrolebinding", "kube-proxy", "--clusterrole=system:node-proxier", "--user=system:kube-proxy")
        self._plane.kubectl("create", *grant)
