"""Before a Helm release goes: delete its TaskQueues and TaskSchedules while the operator still runs, and wait for them.

`python -m taskmill.kube.uninstall --namespace jobs --release shop --timeout 660` is what the chart's pre-delete Job runs.
Time is bounded: what has not drained by then is deleted by force, its tasks are taken back by the rescuer.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from dataclasses import replace

import rich_click as click
from prometheus_client import CollectorRegistry, Counter

from taskmill.kube import constants as c
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.client import KubeClient
from taskmill.kube.apiserver.failures import NotFoundError, TransientError
from taskmill.kube.names import FORCE_DELETE
from taskmill.kube.state import Manifest
from taskmill.log import configure_logging, get_logger
from taskmill.settings import load_settings

log = get_logger(__name__)


async def uninstall(
    client: KubeClient, namespace: str, release: str, timeout_s: float, *, force_s: float = c.UNINSTALL_FORCE_S
) -> bool:
    """Delete what the release made, by force after `timeout_s`, and return whether all of it is gone `force_s` later."""
    for manifest in await _left(client, namespace, release):
        await client.delete(manifest)
    if await _gone(client, namespace, release, timeout_s):
        return True
    for manifest in await _left(client, namespace, release):
        log.warning("排空超时，强制删除", kind=manifest["kind"], name=manifest["metadata"]["name"])
        metadata = {"uid": manifest["metadata"]["uid"], "annotations": {FORCE_DELETE: "true"}}
        with suppress(NotFoundError):  # 刚好这时走了
            await client.merge(k.kind_of(manifest), namespace, manifest["metadata"]["name"], {"metadata": metadata})
    return await _gone(client, namespace, release, force_s)


async def _gone(client: KubeClient, namespace: str, release: str, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    told = -1
    while True:
        try:
            left = await _left(client, namespace, release)
        except TransientError as error:
            log.warning("API 服务器暂时没有答复", error=str(error))
            if time.monotonic() >= deadline:
                raise
            await asyncio.sleep(c.UNINSTALL_POLL_S)
            continue
        if not left:
            return True
        if len(left) != told:
            told = len(left)
            log.info("等待排空", names=[manifest["metadata"]["name"] for manifest in left])
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(c.UNINSTALL_POLL_S)


async def _left(client: KubeClient, namespace: str, release: str) -> list[Manifest]:
    selector = f"app.kubernetes.io/managed-by=Helm,app.kubernetes.io/instance={release}"
    found: list[Manifest] = []
    for kind in (k.TASK_SCHEDULE, k.TASK_QUEUE):
        items, _ = await client.list(replace(kind, selector=selector), namespace)
        found += items
    return found


async def _run(namespace: str, release: str, timeout_s: float) -> bool:
    requests = Counter("taskmill_uninstall_api_requests", "Requests.", ["verb", "code"], registry=CollectorRegistry())
    async with KubeClient.open(requests) as client:
        return await uninstall(client, namespace, release, timeout_s)


@click.command()
@click.option("--namespace", required=True, help="Namespace of the release.")
@click.option("--release", required=True, help="Name of the release.")
@click.option("--timeout", type=click.FloatRange(min=0), required=True, help="Seconds to wait for running tasks.")
@click.pass_context
def main(ctx: click.Context, namespace: str, release: str, timeout: float) -> None:
    """Delete the TaskQueues and TaskSchedules of a Helm release and wait until they are gone; exit code 1 if they stay.

    Example: python -m taskmill.kube.uninstall --namespace jobs --release shop --timeout 660
    """
    settings = load_settings()
    configure_logging(level=settings.log_level, log_format=settings.log_format, language=settings.log_lang)
    if not asyncio.run(_run(namespace, release, timeout)):
        log.error("仍有对象没有删掉；控制器在运行吗？", namespace=namespace, release=release)
        ctx.exit(1)


if __name__ == "__main__":
    sys.exit(main())
