"""Kubeconfig files, written as JSON, which is YAML."""

from __future__ import annotations

import json
from pathlib import Path

CLUSTER_IP = "10.96.0.1"  # 服务网段的第一个地址，属于 kubernetes 这个 Service
NAME = "taskmill-test"


def write(path: Path, *, server: str, authority: Path, user: dict[str, str], namespace: str = "default") -> Path:
    """Write a kubeconfig with one context. `user` is `{"token": …}` or the paths of a client certificate and its key."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": {"server": server, "certificate-authority": str(authority)}}],
        "users": [{"name": NAME, "user": user}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME, "namespace": namespace}}],
        "current-context": NAME,
    }
    path.write_text(json.dumps(content, indent=2))
    path.chmod(0o600)
    return path
