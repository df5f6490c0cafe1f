"""Addresses: every pod has 10.X.a.b in the cluster and 127.X.a.b, where its processes really listen, on this machine.

The API server refuses loopback addresses in EndpointSlices, hence two. X differs between kubelets of one machine.
"""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path
from typing import IO

FIRST, LAST = 64, 127
POD_BASE = 256  # 10.X.0.* 是节点和代理的
NODE_BASE = 10


class Network:
    """One X, reserved while this object lives."""

    def __init__(self) -> None:
        self._lock, self._octet = _reserve()
        self._next = POD_BASE
        self.proxy_host = f"127.{self._octet}.0.1"

    def close(self) -> None:
        """Give X back."""
        self._lock.close()

    def node(self, index: int) -> str:
        """Return the address of a node."""
        return f"10.{self._octet}.0.{NODE_BASE + index}"

    def pod(self) -> str:
        """Return the address of a new pod; none is used twice."""
        number, self._next = self._next, self._next + 1
        return f"10.{self._octet}.{number >> 8}.{number & 255}"

    def ours(self, address: str) -> bool:
        """Return whether `address` belongs to this network."""
        return address.startswith(f"10.{self._octet}.")

    def local(self, address: str) -> str:
        """Return where `address` really is: the loopback twin of a pod's address, else the address itself."""
        return "127" + address.removeprefix("10") if self.ours(address) else address


def _reserve() -> tuple[IO[bytes], int]:
    for octet in range(FIRST, LAST + 1):
        file = (Path(tempfile.gettempdir()) / f"taskmill-kubelet-{octet}.lock").open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            return file, octet
    raise RuntimeError("every pod network of this machine is in use")
