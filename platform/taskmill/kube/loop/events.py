"""Kubernetes events about our objects: one per transition, and one series for what repeats."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.kube import constants as c
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.client import KubeClient
from taskmill.kube.apiserver.failures import (
    ConflictError,
    ExistsError,
    ForbiddenError,
    InvalidError,
    KubeError,
    NotFoundError,
)
from taskmill.kube.metrics import Metrics
from taskmill.kube.state import Event, Manifest
from taskmill.log import get_logger

log = get_logger(__name__)
CONTROLLER_NAME = "taskmill.dev/operator"
NOTE_MAX = 1024  # API 的上限，字节
NAME_ROOM = 253 - 17  # 名字最长 253，留给点和散列


@dataclass(slots=True)
class _Series:
    name: str
    count: int
    last: float


class EventPoster:
    """Posts events as events.k8s.io/v1; that one cannot be posted is logged and stops nothing."""

    def __init__(self, client: KubeClient, instance: str, metrics: Metrics, clock: Clock = SYSTEM_CLOCK) -> None:
        self._client, self._instance, self._metrics, self._clock = client, instance, metrics, clock
        self._series: OrderedDict[tuple[str, str, str], _Series] = OrderedDict()

    async def post(self, about: Manifest, event: Event) -> None:
        """Post one event about an object of ours."""
        metadata = about["metadata"]
        log.info("事件", object=f"{metadata['namespace']}/{metadata['name']}", reason=event.reason, note=event.message)
        self._metrics.events.labels(event.reason).inc()
        key = (str(metadata.get("uid")), event.reason, event.message)
        series, now = self._series.get(key), self._clock.monotonic()
        try:
            if series is not None and now - series.last < c.KUBE_EVENT_SERIES_S:
                series.count, series.last = series.count + 1, now
                await self._count(metadata["namespace"], series)
                return
            name = f"{metadata['name'][:NAME_ROOM].rstrip('.-')}.{_suffix(key, self._clock.now())}"
            await self._client.create(self._manifest(about, event, name))
            self._series[key] = _Series(name, 1, now)
            while len(self._series) > c.KUBE_EVENT_MEMORY:
                self._series.popitem(last=False)
        except (NotFoundError, ExistsError, ConflictError, ForbiddenError, InvalidError) as error:
            self._series.pop(key, None)
            log.warning("事件写不进去", reason=event.reason, error=str(error))
        except KubeError as error:
            log.warning("事件暂时写不进去，丢弃", reason=event.reason, error=str(error))

    async def _count(self, namespace: str, series: _Series) -> None:
        body = {"series": {"count": series.count, "lastObservedTime": _micro(self._clock.now())}}
        await self._client.merge(k.EVENT, namespace, series.name, body)

    def _manifest(self, about: Manifest, event: Event, name: str) -> Manifest:
        metadata = about["metadata"]
        return {
            "apiVersion": k.EVENT.api_version,
            "kind": k.EVENT.kind,
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "eventTime": _micro(self._clock.now()),
            "type": event.type,
            "reason": event.reason,
            "action": "Reconcile",
            "note": event.message.encode()[:NOTE_MAX].decode(errors="ignore"),
            "reportingController": CONTROLLER_NAME,
            "reportingInstance": self._instance,
            "regarding": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata.get("uid", ""),
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
        }


def _suffix(key: tuple[str, str, str], now: datetime) -> str:
    return hashlib.sha256(f"{key}{now.timestamp()}".encode()).hexdigest()[:16]


def _micro(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
