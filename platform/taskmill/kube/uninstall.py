"""Before a Helm release goes: delete its TaskQueues and TaskSchedules while the operator still runs, and wait for them.

`python -m taskmill.kube.uninstall --namespace jobs --release shop --timeout 660` is what the chart's pre-delete Job runs.
Time is bounded: what has not drained by then is deleted by force, its tasks are taken back by the rescuer.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

import rich_click as click
from prometheus_client import CollectorRegistry, Counter

from taskmill.kube import constants as c
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.claims import free, holder_of
from taskmill.kube.apiserver.client import KubeClient
from taskmill.kube.apiserver.failures import ConflictError, KubeError, NotFoundError, TransientError
from taskmill.kube.names import CLAIM, FORCE_DELETE
from taskmill.kube.state import Manifest
from taskmill.log import configure_logging, get_logger
from taskmill.settings import load_settings

log = get_logger(__name__)
Tell = Callable[[list[str]], None]


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
    tell: Tell = lambda _: None,
) -> bool:
    """Delete what the release made, by force after `timeout_s`, and return whether all of it is gone `force_s` later.

    `tell` is called with the names of what is waited for, whenever that changes. OthersError if there are `others` that are to stop it; with DRAIN they go as well.
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
    if await _gone(client, namespace, release, timeout_s, tell):
        return True
    for manifest in await _left(client, namespace, release):
        log.warning("排空超时，强制删除", kind=manifest["kind"], name=manifest["metadata"]["name"])
        metadata = {"uid": manifest["metadata"]["uid"], "annotations": {FORCE_DELETE: "true"}}
        with suppress(NotFoundError):  # 刚好这时走了
            await client.merge(k.kind_of(manifest), namespace, manifest["metadata"]["name"], {"metadata": metadata})
    return await _gone(client, namespace, release, force_s, tell)


async def release_claim(client: KubeClient, namespace: str, operator: str) -> None:
    """Free the namespace's claim if the operator of this release holds it and has nothing left there.

    The rights of the operator go with it, before it could do so itself. Failures are only told.
    """
    try:
        lease = await client.find(k.LEASE, namespace, CLAIM)
        if lease is None or holder_of(lease) != f"{namespace}/{operator}" or await _left(client, namespace, ""):
            return
        await client.replace(free(lease))
    except ConflictError:
        return  # 控制器自己刚交还
    except KubeError as error:
        log.warning("没能交还命名空间，等它自己到期", namespace=namespace, error=str(error))


async def _gone(client: KubeClient, namespace: str, release: str, timeout_s: float, tell: Tell) -> bool:
    deadline = time.monotonic() + timeout_s
    told: list[str] = []
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
        if (waits := [_name(manifest) for manifest in left]) != told:
            told = waits
            log.info("等待排空", names=waits)
            tell(waits)
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
    last = TransientError("list", kind.plural, 0, "", "")
    for _ in range(c.UNINSTALL_TRIES + 1):
        try:
            return (await client.list(kind, namespace))[0]
        except NotFoundError:  # CRD 已经不在了，它的对象也就没有了
            return []
        except TransientError as error:
            last = error
            log.warning("API 服务器暂时没有答复", error=str(error))
        await asyncio.sleep(c.UNINSTALL_POLL_S)
    raise last


def _name(manifest: Manifest) -> str:
    return f"{manifest['kind'].lower()}/{manifest['metadata']['name']}"


async def _run(namespace: str, release: str, timeout_s: float, others: Others, operator: str, tell: Tell) -> bool:
    requests = Counter("taskmill_uninstall_api_requests", "Requests.", ["verb", "code"], registry=CollectorRegistry())
    async with KubeClient.open(requests) as client:
        gone = await uninstall(client, namespace, release, timeout_s, others=others, tell=tell)
        if gone and operator:
            await release_claim(client, namespace, operator)
        return gone


def _writer(path: Path | None) -> Callable[[str], None]:
    """写给 `kubectl describe pod` 看的；随时会被时限打断，所以边等边写。"""

    def write(words: str) -> None:
        if path is None:
            return
        try:
            path.write_bytes(words.encode()[: c.UNINSTALL_WORDS_MAX])
        except OSError as error:
            log.warning("终止消息写不下", path=str(path), error=str(error))

    return write


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
@click.option("--operator", default="", help="Name of the Lease of the release's operator, whose claim is given up.")
@click.option("--report", type=click.Path(path_type=Path), help="File for the names of what is waited for.")
@click.pass_context
def main(
    ctx: click.Context, namespace: str, release: str, timeout: float, others: str, operator: str, report: Path | None
) -> None:
    """Delete the TaskQueues and TaskSchedules of a Helm release and wait until they are gone; exit code 1 if they stay.

    Example: python -m taskmill.kube.uninstall --namespace jobs --release shop --timeout 660
    """
    settings = load_settings()
    configure_logging(level=settings.log_level, log_format=settings.log_format, language=settings.log_lang)
    foreign: list[str] = []
    write = _writer(report)
    try:
        gone = asyncio.run(
            _run(
                namespace,
                release,
                timeout,
                Others(others),
                operator,
                lambda names: write(f"waits for {', '.join(names)} to drain"),
            )
        )
    except OthersError as error:
        gone, foreign = False, error.names
        write(f"not made by this release: {error}; delete them first, or set uninstall.others")
    if foreign:
        log.error("命名空间里有不是本 release 建的对象：先删掉它们，或设 uninstall.others", names=foreign)
    elif not gone:
        log.error("仍有对象没有删掉；控制器在运行吗？", namespace=namespace, release=release)
    if not gone:
        ctx.exit(1)


if __name__ == "__main__":
    sys.exit(main())
