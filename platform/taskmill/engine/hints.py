"""Hints: a message over Valkey that makes a worker renew, and so look at PostgreSQL, at once.

They are only for speed. The truth comes with the reply to the heartbeat, so one that is missed delays a cancel, no more.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from uuid import UUID

from taskmill.engine.backoff import Backoff
from taskmill.log import get_logger
from taskmill.services.faults import translate
from taskmill.stores.broker.tickets import Tickets
from taskmill.stores.why import why

log = get_logger(__name__)


async def listen(tickets: Tickets, worker_id: UUID, on_hint: Callable[[], None], ended: Callable[[], bool]) -> None:
    """Call `on_hint` for each hint to this worker until `ended`; connects anew for as long as it takes."""
    backoff = Backoff()
    while not ended():
        try:
            async with aclosing(tickets.hints(worker_id)) as hints:
                async for hinted in hints:
                    backoff.reset()
                    if ended():  # redis-py 的订阅会吞掉取消
                        return
                    if hinted:
                        on_hint()
        except Exception as error:
            log.warning("收不到提示，取消改由心跳得知", error=why(error), exc_info=translate(error) is None)
            await backoff.wait()
