"""A laboratory: control plane, nodes, PostgreSQL, Valkey. `make cluster/lab` keeps one until Ctrl-C.

The namespace `default` gets the Secrets `taskmill-database` and `taskmill-broker` (key `url`) and the CRDs of `crds/`.
To see what goes wrong, annotate a pod: `kubectl annotate pod NAME kubelet.test/do=oom` (or evict, kill).
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.cluster import binaries
from tests.cluster.kubelet.images import CHECKOUT
from tests.cluster.kubelet.kubelet import Kubelet
from tests.cluster.kubelet.support import cannot_run
from tests.cluster.plane import ControlPlane
from tests.support import databases, servers

CRDS = CHECKOUT / "crds"
DATABASE_SECRET, BROKER_SECRET = "taskmill-database", "taskmill-broker"


class Lab:
    """Everything the operator needs, as one context manager."""

    def __init__(self, root: Path, *, nodes: int = 2, empty: bool = False) -> None:
        self.root = root
        self.plane = ControlPlane(root / "plane")
        self.kubelet: Kubelet
        self.postgres = servers.new_postgres(root / "postgres", servers.POSTGRES_SETTINGS)
        self.valkey = servers.new_valkey(root / "valkey", servers.VALKEY_SETTINGS)
        self._nodes = nodes
        self._empty = empty
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            with ThreadPoolExecutor(3) as pool:
                parts = (self.plane, self.postgres, self.valkey)
                for started in [pool.submit(stack.enter_context, part) for part in parts]:
                    started.result()
            if not self._empty:
                databases.in_thread(databases.migrate(self.postgres.url))
            self.kubelet = stack.enter_context(Kubelet(self.plane.kubeconfig, self.root / "kubelet", nodes=self._nodes))
            self.apply(*self.secrets("default"))
            if CRDS.is_dir():
                self.plane.kubectl("apply", "--server-side", "-f", str(CRDS))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def apply(self, *items: dict) -> None:
        """Create or change objects."""
        content = {"apiVersion": "v1", "kind": "List", "items": list(items)}
        self.plane.commands.kubectl("apply", "-f", "-", stdin=json.dumps(content))

    def secrets(self, namespace: str) -> list[dict]:
        """Return the two Secrets for a namespace."""
        urls = {DATABASE_SECRET: self.postgres.url, BROKER_SECRET: self.valkey.url}
        return [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": namespace},
                "data": {"url": base64.b64encode(url.encode()).decode()},
            }
            for name, url in urls.items()
        ]

    def describe(self) -> str:
        """Return what to paste into a shell."""
        path = f"{Path(binaries.program('kubectl')).parent}:{CHECKOUT / '.venv/bin'}"
        return "\n".join(
            [
                f"export KUBECONFIG={self.plane.kubeconfig} PATH={path}:$PATH",
                f"export TASKMILL_DATABASE_URL={self.postgres.url} TASKMILL_BROKER_URL={self.valkey.url}",
                f"# images taskmill:test, taskmill:v1 to v3, shell:test; output of pods in {self.root / 'kubelet/logs'}",
            ]
        )


def main() -> int:
    """Start the laboratory, print how to use it, and end it at Ctrl-C or SIGTERM (`--once`: at once)."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.lab", description=__doc__)
    parser.add_argument("--root", type=Path, help="folder of its data, kept; a temporary one without")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--empty", action="store_true", help="leave the database without a schema")
    parser.add_argument("--once", action="store_true", help="stop as soon as it is ready")
    options = parser.parse_args()
    if reason := cannot_run():
        sys.stderr.write(reason + "\n")
        return 1
    root = options.root or Path(tempfile.mkdtemp(prefix="taskmill-lab-"))
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)  # PostgreSQL 以另一个用户运行，要能走到自己的目录
    begin = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Lab(root.resolve(), nodes=options.nodes, empty=options.empty) as lab:
            sys.stdout.write(f"{lab.describe()}\n# ready after {time.monotonic() - begin:.1f} s; Ctrl-C ends it\n")
            sys.stdout.flush()
            while not options.once:
                signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        if options.root is None:
            shutil.rmtree(root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
