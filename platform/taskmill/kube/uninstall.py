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
from enum import StrEnum

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


class Others(StrEnum):
    """What becomes of the objects in the namespace that the release did not make."""

    REFUSE = "refuse"
    DRAIN = "drain"
    IGNORE = "ignore"


class OthersError(Exception):
    """There are objects that the release did not make; `names` are `kind/name`."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(", ".join(names))
        self.names = names


async def uninstall(
    client: KubeClient,
    namespace: str,
    release: str,
    timeout_s: float,
    *,
    others: Others = Others.IGNORE,
    force_s: float = c.UNINSTALL_FORCE_S,
) -> bool:
    """Delete what the release made, by force after `timeout_s`, and return whether all of it is gone `force_s` later.

    OthersError if there are `others` that are to stop it; with DRAIN they go as well.
    """
    if others is Others.REFUSE:
        mine = {_name(manifest) for manifest in await _left(client, namespace, release)}
        foreign = [_name(each) for each in await _left(client, namespace, None) if _name(each) not in mine]
        if foreign:
            raise OthersError(foreign)
    elif others is Others.DRAIN:
        release = ""
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


async def _left(client: KubeClient, namespace: str, release: str | None) -> list[Manifest]:
    """这个 release 的，没有名字就是命名空间里所有的。"""
    selector = f"app.kubernetes.io/managed-by=Helm,app.kubernetes.io/instance={release}" if release else ""
    found: list[Manifest] = []
    for kind in (k.TASK_SCHEDULE, k.TASK_QUEUE):
        found += await _listed(client, replace(kind, selector=selector), namespace)
    return found


async def _listed(client: KubeClient, kind: k.Kind, namespace: str) -> list[Manifest]:
    """API 服务器刚起来、正忙的时候再试几次：一次 429 不该让整个卸载失败。"""
    for _ in range(c.UNINSTALL_TRIES):
        try:
            return (await client.list(kind, namespace))[0]
        except TransientError as error:
            log.warning("API 服务器暂时没有答复", error=str(error))
        await asyncio.sleep(c.UNINSTALL_POLL_S)
    return (await client.list(kind, namespace))[0]


def _name(manifest: Manifest) -> str:
    return f"{manifest['kind'].lower()}/{manifest['metadata']['name']}"


async def _run(namespace: str, release: str, timeout_s: float, others: Others) -> bool:
    requests = Counter("taskmill_uninstall_api_requests", "Requests.", ["verb", "code"], registry=CollectorRegistry())
    async with KubeClient.open(requests) as client:
        return await uninstall(client, namespace, release, timeout_s, others=others)


@click.command()
@click.option("--namespace", required=True, help="Namespace of the release.")
@click.option("--release", required=True, help="Name of the release.")
@click.option("--timeout", type=click.FloatRange(min=0), required=True, help="Seconds to wait for running tasks.")
@click.option(
    "--others",
    type=click.Choice([each.value for each in Others]),
    default=Others.IGNORE.value,
    show_default=True,
    help="What to do if the namespace has objects that the release did not make.",
)
@click.pass_context
def main(ctx: click.Context, namespace: str, release: str, timeout: float, others: str) -> None:
    """Delete the TaskQueues and TaskSchedules of a Helm release and wait until they are gone; exit code 1 if they stay.

    Example: python -m taskmill.kube.uninstall --namespace jobs --release shop --timeout 660
    """
    settings = load_settings()
    configure_logging(level=settings.log_level, log_format=settings.log_format, language=settings.log_lang)
    foreign: list[str] = []
    try:
        gone = asyncio.run(_run(namespace, release, timeout, Others(others)))
    except OthersError as error:
        gone, foreign = False, error.names
    if foreign:
        log.error("命名空间里有不是本 release 建的对象：先删掉它们，或设 uninstall.others", names=foreign)
    elif not gone:
        log.error("仍有对象没有删掉；控制器在运行吗？", namespace=namespace, release=release)
    if not gone:
        ctx.exit(1)


if __name__ == "__main__":
    sys.exit(main())
