"""Who works the queue off: one key after the other, as long as this process leads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from taskmill.kube import constants as c
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.loop.leadership import Leadership
from taskmill.kube.loop.workqueue import WorkQueue
from taskmill.log import get_logger

log = get_logger(__name__)


async def work(queue: WorkQueue[Key], leadership: Leadership, one_round: Callable[[Key], Awaitable[None]]) -> None:
    """Take keys and do a round for each until cancelled; whatever a round raises ends nothing."""
    while True:
        key = await queue.take()
        try:
            # 备用副本和还没认全的主控不动手；开始时所有键都会再来一遍
            if leadership.acts:
                await one_round(key)
            elif leadership.elected:
                queue.add_after(key, c.LEASE_RETRY_S)  # 续租迟了：可能马上又续上，键不能丢
        except Exception:  # 不论什么错，干活的都不能少一个
            log.exception("对账之外出错", object=str(key))
            queue.retry(key)
        finally:
            queue.done(key)
