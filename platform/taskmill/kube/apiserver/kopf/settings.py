"""How kopf is set up: to list and watch and nothing else, and quiet about it."""

from __future__ import annotations

import logging
from typing import Any

import kopf

from taskmill.kube import constants as c
from taskmill.kube.apiserver import kinds as k


class _Nothing(kopf.DiffBaseStorage):
    """kopf 为「改了什么」给每个事件深拷贝整个对象；我们不问它，这占看守线程的一半时间。"""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:  # noqa: ARG002 - kopf 的签名
        return {}

    def fetch(self, *, body: Any) -> Any:  # noqa: ARG002
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """What is never built is never stored."""


def watch_settings() -> kopf.OperatorSettings:
    """Return the settings of kopf: it stores nothing, posts nothing, and reads long lists in pages."""
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = _Nothing()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.request_timeout = c.KUBE_REQUEST_TIMEOUT_S
    settings.networking.error_backoffs = c.KUBE_WATCH_BACKOFFS
    settings.process.ultimate_exiting_timeout = None
    settings.watching.chunk_size = c.KUBE_LIST_CHUNK
    settings.queueing.idle_timeout = c.KUBE_STREAM_IDLE_S
    for kind in k.WATCHED:
        if kind.selector:
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = kind.selector
    return settings


class _Noise(logging.Filter):
    """它在自己的线程里跑是有意的。"""

    def filter(self, record: logging.LogRecord) -> bool:
        return "OS signals are ignored" not in str(record.msg)


def quiet() -> None:
    """Have kopf log warnings only."""
    logger = logging.getLogger("kopf")
    logger.setLevel(logging.WARNING)
    for each in ("kopf._core.reactor.running", "kopf.objects", "kopf.activities"):
        logging.getLogger(each).setLevel(logging.WARNING)
    logging.getLogger("kopf._core.reactor.running").addFilter(_Noise())
