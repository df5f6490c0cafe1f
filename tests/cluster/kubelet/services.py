"""From the name of a Service to a process of this machine, as cluster DNS and kube-proxy do it together."""

from __future__ import annotations

import itertools
from urllib.parse import urlsplit

from tests.cluster.kubelet.api import Api, Json
from tests.cluster.kubelet.informer import Informer
from tests.cluster.kubelet.network import Network

DOMAIN = ".cluster.local"
SERVICE_LABEL = "kubernetes.io/service-name"


class NoEndpointError(Exception):
    """The Service has no ready pod, or no such port."""


class Services:
    """Resolves names; the informers have to be run by somebody."""

    def __init__(self, api: Api, network: Network) -> None:
        self._server = urlsplit(api.cluster.server)
        self._network = network
        self._turn = itertools.count()
        self._services = Informer(api, "/api/v1/services")
        self._slices = Informer(api, "/apis/discovery.k8s.io/v1/endpointslices")
        self.informers = (self._services, self._slices)

    def resolve(self, host: str, port: int, namespace: str) -> tuple[str, int]:
        """Return where to connect; names that are no Service stay as they are. Raises NoEndpointError."""
        service = self._find(host, namespace)
        if service is None:
            return self._network.local(host), port
        meta = service["metadata"]
        if (meta["namespace"], meta["name"]) == ("default", "kubernetes"):
            return self._server.hostname or "", self._server.port or 443
        wanted = next((item for item in service["spec"].get("ports") or [] if item["port"] == port), None)
        if wanted is None:
            raise NoEndpointError(f"{host} has no port {port}")
        targets = self._targets(meta["namespace"], meta["name"], wanted.get("name", ""))
        if not targets:
            raise NoEndpointError(f"{host}:{port} has no ready endpoint")
        address, target_port = targets[next(self._turn) % len(targets)]
        return self._network.local(address), target_port

    def _find(self, host: str, namespace: str) -> Json | None:
        parts = host.removesuffix(".").removesuffix(DOMAIN).split(".")
        if len(parts) <= 3 and (len(parts) < 3 or parts[2] == "svc"):
            space = parts[1] if len(parts) > 1 else namespace
            if found := self._services.items.get((space, parts[0])):
                return found
        items = self._services.items.values()
        return next((item for item in items if item["spec"].get("clusterIP") == host), None)

    def _targets(self, namespace: str, name: str, port_name: str) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        for (space, _), item in self._slices.items.items():
            if space != namespace or item["metadata"].get("labels", {}).get(SERVICE_LABEL) != name:
                continue
            ports = [entry["port"] for entry in item.get("ports") or [] if (entry.get("name") or "") == port_name]
            for endpoint in item.get("endpoints") or []:
                if endpoint.get("conditions", {}).get("ready"):
                    found += [(endpoint["addresses"][0], port) for port in ports]
        return sorted(found)
