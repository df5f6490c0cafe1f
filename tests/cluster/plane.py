"""A real Kubernetes control plane without nodes: `python -m tests.cluster.plane` keeps one until Ctrl-C.

    etcd ← kube-apiserver ← kube-controller-manager, kube-scheduler

All are children of this process on free ports of 127.0.0.1; nothing outlives it.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster import audit, binaries, kubeconfig
from tests.cluster.commands import Commands
from tests.cluster.components import ApiServer, Component, ControllerManager, Etcd, Scheduler
from tests.cluster.pki import Authority

# 用户 → 组；控制器管理器要代所有控制器办事，调度器用它真实的 RBAC 角色
USERS = {
    "admin": "system:masters",
    "system:kube-controller-manager": "system:masters",
    "system:kube-scheduler": "",
}
Flags = Mapping[str, Mapping[str, str]]


class ControlPlane:
    """One cluster. Faults: `plane.api.kill()`, `.pause()`, `.resume()`, `.restart()`; the same for the other three.

    After an outage of the API server the controllers need up to 30 s to watch again (the back-off of their client);
    a test that doesn't want to wait for that says `plane.controllers.restart()`.
    `flags` adds flags to a program: `{"kube-apiserver": {"etcd-compaction-interval": "5s"}}`.
    """

    def __init__(self, root: Path, *, flags: Flags | None = None) -> None:
        flags = flags or {}
        self.root = root.resolve()
        self.authority = Authority(self.root / "pki")
        self._tokens = {user: secrets.token_hex(16) for user in USERS}
        self.admin_token = self._tokens["admin"]
        self.kubeconfig = self._own_kubeconfig("admin")
        self.commands = Commands(self.kubeconfig, self.root / "client-cache")
        self.etcd = Etcd(self.root / "etcd", settings=flags.get("etcd", {}))
        self.api = ApiServer(
            self.root / "api", etcd=self.etcd, authority=self.authority, settings=flags.get("kube-apiserver", {})
        )
        self.controllers = ControllerManager(
            self.root / "controllers",
            authority=self.authority,
            kubeconfig=self._own_kubeconfig("system:kube-controller-manager"),
            settings=flags.get("kube-controller-manager", {}),
        )
        self.scheduler = Scheduler(
            self.root / "scheduler",
            authority=self.authority,
            kubeconfig=self._own_kubeconfig("system:kube-scheduler"),
            settings=flags.get("kube-scheduler", {}),
        )
        self.audit = audit.AuditLog(self.api.audit_log)

    def start(self) -> Self:
        """Start all four and return when they are healthy. Raises SetupError with the end of the log of what failed."""
        self.authority.prepare()
        self.api.root.mkdir(parents=True, exist_ok=True)
        lines = [f'{self._tokens[user]},{user},{user},"{group}"' for user, group in USERS.items()]
        self.api.tokens.write_text("\n".join(lines) + "\n")
        self.api.audit_policy.write_text(json.dumps(audit.POLICY))
        try:
            self.etcd.start()
            self.api.start()
            for user in USERS:
                self._write_kubeconfig(self._own_kubeconfig(user), {"token": self._tokens[user]})
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(Component.start, [self.controllers, self.scheduler]))
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End all four at once; harmless if some are down."""
        for component in (self.scheduler, self.controllers, self.api, self.etcd):
            component.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # ── 别的身份 ──────────────────────────────────────────────────────────

    def user_kubeconfig(self, user: str, *groups: str, namespace: str = "default") -> Path:
        """Return a kubeconfig for any user, by a client certificate; RBAC decides what it may do."""
        certificate, key = self.authority.client(user, groups)
        credentials = {"client-certificate": str(certificate), "client-key": str(key)}
        return self._write_kubeconfig(certificate.with_suffix(".kubeconfig"), credentials, namespace)

    def service_account_token(self, namespace: str, name: str, *, seconds: int = 3600) -> str:
        """Return a fresh token of a service account that exists (TokenRequest)."""
        return self.kubectl("create", "token", name, "-n", namespace, f"--duration={seconds}s").strip()

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Return a kubeconfig that acts as a service account, as its pods do."""
        token = self.service_account_token(namespace, name)
        path = self.root / f"service-account-{namespace}-{name}.kubeconfig"
        return self._write_kubeconfig(path, {"token": token}, namespace)

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl as admin and return its output. Raises CommandError."""
        return self.commands.kubectl(*arguments)

    def _own_kubeconfig(self, user: str) -> Path:
        return self.root / f"{user.replace(':', '_')}.kubeconfig"

    def _write_kubeconfig(self, path: Path, user: dict[str, str], namespace: str = "default") -> Path:
        return kubeconfig.write(
            path, server=self.api.url, authority=self.authority.certificate, user=user, namespace=namespace
        )


def main() -> int:
    """Start a control plane, print how to reach it, and end it at Ctrl-C or SIGTERM (`--once`: at once)."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.plane", description=__doc__)
    parser.add_argument("--root", type=Path, help="folder of its data, kept; a temporary one without")
    parser.add_argument("--once", action="store_true", help="stop as soon as it is ready")
    options = parser.parse_args()
    root = options.root or Path(tempfile.mkdtemp(prefix="taskmill-plane-"))
    begin = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ControlPlane(root) as plane:
            sys.stdout.write(f"ready after {time.monotonic() - begin:.1f} s; Ctrl-C ends it\n")
            sys.stdout.write(f"export KUBECONFIG={plane.kubeconfig} PATH={Path(binaries.program('kubectl')).parent}:$PATH\n")
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
