"""An adapter for the HorizontalPodAutoscaler: the external metrics API of Kubernetes, answered from our own `/scaling` numbers.

    HPA controller → kube-apiserver (aggregator) → this → Taskmill API `/api/v1/scaling/{queue}`

Metric `taskmill_<field>` with the label `queue` is that field of the answer: `taskmill_ready{queue="emails"}`.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx2
from aiohttp import web

from taskmill.dev import ports
from tests.cluster.kubelet.api import Api
from tests.cluster.pki import Authority
from tests.support.waiting import eventually

GROUP, VERSION = "external.metrics.k8s.io", "v1beta1"
NAME = f"{VERSION}.{GROUP}"
SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
PREFIX = "taskmill_"
RESOURCES = {
    "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}",
    "resources": [
        {"name": "externalmetrics", "singularName": "", "namespaced": True, "kind": "ExternalMetricValueList", "verbs": ["get"]}
    ],
}  # fmt: skip


@asynccontextmanager
async def external_metrics(api: Api, authority: Authority, namespace: str, url: str, secret: str) -> AsyncIterator[None]:
    """Serve the API of the cluster `external.metrics.k8s.io` while the block runs; `url` and `secret` are Taskmill's API."""
    async with httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {secret}"}) as taskmill:
        port = ports.choose(None)
        runner = web.AppRunner(_application(taskmill))
        await runner.setup()
        try:
            await web.TCPSite(runner, ports.HOST, port, ssl_context=_tls(authority)).start()
            await _register(api, namespace, port)
            try:
                yield
            finally:
                # 没有后台的 APIService 会挡住命名空间的删除
                await api.request("DELETE", f"{SERVICES}/{NAME}")
        finally:
            await runner.cleanup()


def _application(taskmill: httpx2.AsyncClient) -> web.Application:
    async def discovery(request: web.Request) -> web.Response:
        return web.json_response(RESOURCES)

    async def values(request: web.Request) -> web.Response:
        labels = dict(each.split("=", 1) for each in request.query["labelSelector"].split(","))
        field = request.match_info["metric"].removeprefix(PREFIX)
        answer = (await taskmill.get(f"/api/v1/scaling/{labels['queue']}")).raise_for_status().json()
        return web.json_response(_values(request.match_info["metric"], labels, answer["data"][field]))

    made = web.Application()
    made.router.add_get(f"/apis/{GROUP}/{VERSION}", discovery)
    made.router.add_get(f"/apis/{GROUP}/{VERSION}/namespaces/{{namespace}}/{{metric}}", values)
    return made


def _values(metric: str, labels: dict[str, str], value: float) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    item = {"metricName": metric, "metricLabels": labels, "timestamp": now, "value": str(value)}
    return {"kind": "ExternalMetricValueList", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}, "items": [item]}


def _tls(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.server_certificate, authority.server_key)
    return context


async def _register(api: Api, namespace: str, port: int) -> None:
    """ExternalName 让聚合层直接连本机：回环地址进不了 EndpointSlice，ClusterIP 又没有人转发。"""
    service = {"metadata": {"name": "metrics"}, "spec": {"type": "ExternalName", "externalName": "localhost"}}
    await api.request("POST", f"/api/v1/namespaces/{namespace}/services", service)
    spec = {
        "group": GROUP, "version": VERSION, "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": True,
        "service": {"namespace": namespace, "name": "metrics", "port": port},
    }  # fmt: skip
    body = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": NAME}, "spec": spec}
    await api.request("POST", SERVICES, body)

    async def available() -> bool:
        conditions = (await api.get(f"{SERVICES}/{NAME}")).get("status", {}).get("conditions") or []
        return any(each["type"] == "Available" and each["status"] == "True" for each in conditions)

    await eventually(available, timeout=60, poll=0.2, why="the aggregator reaches the metrics")
