"""What the programs of a node read: containerd's, the network plugins', kubelet's and kube-proxy's configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tests.cluster.node import programs
from tests.cluster.node.images import PAUSE
from tests.cluster.node.inside import BRIDGE, DNS_IP, NODE_IP, PODS

SOCKET: Final = "/run/containerd/containerd.sock"
KUBELET_GROUP: Final = "kubelet.config.k8s.io/v1beta1"
# 机器的磁盘多满与测试无关；真有压力的驱逐由各测试自己造
EVICTION: Final = {
    "memory.available": "100Mi",
    "nodefs.available": "1%",
    "imagefs.available": "1%",
    "nodefs.inodesFree": "1%",
}


def containerd(root: Path) -> str:
    """Return containerd's configuration, with all of its data below `root`."""
    return f"""
version = 3
root = "{root}/data"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]

[grpc]
address = "{SOCKET}"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE}"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{programs.folder()}"]
conf_dir = "{root}/cni"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{programs.folder() / "runc"}"
SystemdCgroup = false
"""


def network() -> str:
    """Return the list of network plugins: a bridge, addresses from a file."""
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "isDefaultGateway": True,
        "ipMasq": False,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS, "gateway": NODE_IP}]]},
    }
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]})


def kubelet(root: Path, authority: Path, health_port: int) -> dict[str, Any]:
    """Return kubelet's configuration."""
    return {
        "apiVersion": KUBELET_GROUP,
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "clusterDNS": [DNS_IP],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "evictionHard": EVICTION,
        "failCgroupV1": False,
        "failSwapOn": False,
        "healthzPort": health_port,
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "imageMinimumGCAge": "24h",
        "makeIPTablesUtilChains": False,
        "resolvConf": str(root / "resolv.conf"),
        "volumePluginDir": str(root / "volume-plugins"),
        "volumeStatsAggPeriod": "5s",  # 多久量一次 emptyDir 有多大
    }


def kube_proxy(kubeconfig: Path, health_port: int) -> dict[str, Any]:
    """Return kube-proxy's configuration: nftables, and every connection from the node's address, since all pods share a bridge."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": PODS,
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "healthzBindAddress": f"127.0.0.1:{health_port}",
        "mode": "nftables",
        "nftables": {"masqueradeAll": True},
    }
