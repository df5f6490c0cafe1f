"""The four processes of a control plane, each a `ChildServer` on a free port of 127.0.0.1 that dies with us.

Their data is thrown away with the test, so a stop is a kill; `terminate` is the polite end that a rollout would be.
"""

from __future__ import annotations

import functools
import http.client
import signal
import ssl
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from taskmill.dev import constants, ports, process_table
from taskmill.dev.child_server import ChildServer
from tests.cluster import binaries
from tests.cluster.kubeconfig import CLUSTER_IP
from tests.cluster.pki import Authority

HTTP_OK = 200
ISSUER = "https://kubernetes.default.svc.cluster.local"
# 进程按工作目录认领（process_table），而这些程序自己不会换目录
IN_FOLDER = 'cd "$0" && exec "$@"'
# 同时跑的测试多，默认的每秒 20 次会让控制器排队
CLIENT_RATE = {"kube-api-qps": "100", "kube-api-burst": "200"}


class Component(ChildServer):
    """A program of the control plane; `settings` are flags without the dashes and win over the built-in ones."""

    stop_signal: ClassVar[signal.Signals] = signal.SIGKILL
    health: ClassVar[str] = "/readyz"
    authority: Authority | None = None

    def start(self) -> Self:
        """Start as every server; from then on the port stays, because the others know it."""
        super().start()
        self._port_is_fixed = True
        return self

    @property
    def url(self) -> str:
        """The URL that clients connect to."""
        return f"{'http' if self.authority is None else 'https'}://{ports.HOST}:{self.port}"

    def terminate(self) -> None:
        """Send SIGTERM and return when the process is gone; it finishes the open requests before."""
        process_table.send([self.pid], signal.SIGTERM)
        if not process_table.wait_until(lambda: not self.running, constants.DEV_STOP_TIMEOUT_S):
            self.kill()

    @abstractmethod
    def flags(self) -> Mapping[str, str]:
        """Return the flags of the program, without those that `settings` gives."""

    def _prepare(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)

    def _command(self) -> list[str]:
        (name,) = self.executables
        flags = [f"--{flag}={value}" for flag, value in {**self.flags(), **self.settings}.items()]
        return ["/bin/sh", "-c", IN_FOLDER, str(self.home), binaries.program(name), *flags]

    def _is_ready(self) -> bool:
        connection = self._connection()
        try:
            connection.request("GET", self.health)
            return connection.getresponse().status == HTTP_OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        timeout = constants.DEV_PROBE_TIMEOUT_S
        if self.authority is None:
            return http.client.HTTPConnection(ports.HOST, self.port, timeout=timeout)
        context = _trust(self.authority.certificate)
        return http.client.HTTPSConnection(ports.HOST, self.port, timeout=timeout, context=context)

    def _serving(self) -> dict[str, str]:
        assert self.authority is not None
        return {
            "bind-address": ports.HOST,
            "secure-port": str(self.port),
            "tls-cert-file": str(self.authority.server_certificate),
            "tls-private-key-file": str(self.authority.server_key),
        }


@functools.cache
def _trust(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


class Etcd(Component):
    """The store; it never waits for the disk."""

    name: ClassVar[str] = "etcd"
    executables: ClassVar[frozenset[str]] = frozenset({"etcd"})

    def flags(self) -> Mapping[str, str]:
        """Return the flags of a cluster of one; nobody connects to its peer port."""
        return {
            "data-dir": str(self.home / "store"),
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": f"http://{ports.HOST}:0",
            "unsafe-no-fsync": "true",
            "log-level": "warn",
        }


class ApiServer(Component):
    """kube-apiserver with a token file, client certificates, RBAC and an audit log."""

    name: ClassVar[str] = "kube-apiserver"
    executables: ClassVar[frozenset[str]] = frozenset({"kube-apiserver"})

    def __init__(self, root: Path, *, etcd: Etcd, authority: Authority, settings: Mapping[str, str]) -> None:
        super().__init__(root, settings=settings)
        self.authority: Authority | None = authority
        self._etcd, self._authority = etcd, authority
        self.tokens, self.audit_policy, self.audit_log = root / "tokens.csv", root / "audit.json", root / "audit.log"

    def flags(self) -> Mapping[str, str]:
        """Return the flags; admission plugins are the default ones, PodSecurity among them.

        Without the grace period, which ends watches actively, a terminated server waits for them for up to a minute.
        """
        key = str(self._authority.service_account_key)
        return self._serving() | {
            "advertise-address": ports.HOST,
            "allow-privileged": "true",
            "audit-log-path": str(self.audit_log.resolve()),
            "audit-policy-file": str(self.audit_policy.resolve()),
            "authorization-mode": "Node,RBAC",
            "client-ca-file": str(self._authority.certificate),
            "endpoint-reconciler-type": "none",
            "etcd-servers": self._etcd.url,
            "profiling": "false",
            "service-account-issuer": ISSUER,
            "service-account-key-file": key,
            "service-account-signing-key-file": key,
            "service-cluster-ip-range": f"{CLUSTER_IP.rpartition('.')[0]}.0/24",
            "shutdown-watch-termination-grace-period": "1s",
            "token-auth-file": str(self.tokens.resolve()),
        }


class Controller(Component):
    """What the controller manager and the scheduler have in common."""

    health: ClassVar[str] = "/healthz"

    def __init__(self, root: Path, *, authority: Authority, kubeconfig: Path, settings: Mapping[str, str]) -> None:
        super().__init__(root, settings=settings)
        self.authority: Authority | None = authority
        self._authority, self._kubeconfig = authority, str(kubeconfig)

    def flags(self) -> Mapping[str, str]:
        """Return the flags of both: one instance, so no election."""
        return (
            self._serving()
            | CLIENT_RATE
            | {
                "authentication-kubeconfig": self._kubeconfig,
                "authorization-kubeconfig": self._kubeconfig,
                "kubeconfig": self._kubeconfig,
                "leader-elect": "false",
                "profiling": "false",
            }
        )


class ControllerManager(Controller):
    """All default controllers: ReplicaSets, Deployments, Jobs, garbage, disruption, autoscaling, tokens, root CA, …"""

    name: ClassVar[str] = "kube-controller-manager"
    executables: ClassVar[frozenset[str]] = frozenset({"kube-controller-manager"})

    def flags(self) -> Mapping[str, str]:
        """Return the flags; the autoscaler looks every 2 s instead of 15, to save waiting."""
        return {
            **super().flags(),
            "horizontal-pod-autoscaler-sync-period": "2s",
            "horizontal-pod-autoscaler-downscale-stabilization": "5s",
            "root-ca-file": str(self._authority.certificate),
            "service-account-private-key-file": str(self._authority.service_account_key),
        }


class Scheduler(Controller):
    """kube-scheduler with its default profile."""

    name: ClassVar[str] = "kube-scheduler"
    executables: ClassVar[frozenset[str]] = frozenset({"kube-scheduler"})
