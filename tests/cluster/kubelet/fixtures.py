"""The nodes of the session's control plane."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.kubelet.kubelet import Kubelet
from tests.cluster.kubelet.support import cannot_run


@pytest.fixture(scope="session")
def nodes(kubeconfig: Path, server_root: Path) -> Iterator[Kubelet]:
    """The kubelet of the session: two nodes, `node-0` and `node-1`, whose pods are processes of this machine."""
    if reason := cannot_run():
        pytest.skip(reason)
    with Kubelet(kubeconfig, Path(tempfile.mkdtemp(prefix="kubelet-", dir=server_root))) as kubelet:
        yield kubelet
