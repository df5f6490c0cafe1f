"""The nodes of the session's control plane."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.kubelet.context import Pace
from tests.cluster.kubelet.kubelet import Kubelet
from tests.cluster.kubelet.support import cannot_run

REFRESH_S = 2.0


@pytest.fixture(scope="session")
def nodes(kubeconfig: Path, server_root: Path) -> Iterator[Kubelet]:
    """The kubelet of the session: two nodes, `node-0` and `node-1`, whose pods are processes of this machine."""
    if reason := cannot_run():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    root = Path(tempfile.mkdtemp(prefix="kubelet-", dir=server_root))
    with Kubelet(kubeconfig, root, pace=Pace(refresh_s=REFRESH_S)) as kubelet:
        yield kubelet
