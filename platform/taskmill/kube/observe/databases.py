"""The databases behind the TaskQueues: one link for all objects that share a database, closed when nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from taskmill import constants as c
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.kube import constants as kc
from taskmill.kube.observe.database_access import Opener, identity_of
from taskmill.kube.observe.database_link import DatabaseLink
from taskmill.log import get_logger
from taskmill.services.fleet import FleetService

log = get_logger(__name__)


class Databases:
    """All databases in use, by identity."""

    def __init__(
        self,
        seen: Callable[[DatabaseLink], float],
        *,
        tick_s: float = c.OPERATOR_TICK_S,
        clock: Clock = SYSTEM_CLOCK,
        opener: Opener = FleetService.open,
        refused: Callable[[DatabaseLink], None] = lambda _: None,
    ) -> None:
        self._refused = refused
        self._seen, self._tick_s, self._clock, self._opener = seen, tick_s, clock, opener
        self.links: dict[str, DatabaseLink] = {}
        self._of: dict[object, str] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def use(self, user: object, url: str) -> DatabaseLink:
        """Return the database of an object, by its URL; ValueError if it is not one."""
        identity = identity_of(url)
        if self._of.get(user, identity) != identity:
            self.release(user)
        link = self.links.get(identity)
        if link is None:
            link = self.links[identity] = DatabaseLink(
                identity,
                self._seen,
                tick_s=self._tick_s,
                clock=self._clock,
                opener=self._opener,
                refused=self._refused,
            )
            link.use(user, url)
            link.start()
        link.use(user, url)
        self._of[user] = identity
        return link

    def of(self, user: object) -> DatabaseLink | None:
        """Return the database that an object was last seen to use."""
        return self.links.get(self._of.get(user, ""))

    async def looked(self) -> None:
        """Wait for the first look at every database in use, a bounded time: one that hangs holds up nobody for long."""
        waiting = (link.looked.wait() for link in self.links.values())
        try:
            await asyncio.wait_for(asyncio.gather(*waiting), kc.OPERATOR_FIRST_LOOK_S)
        except TimeoutError:
            log.warning("有数据库迟迟没有答复，先开始对账")

    def users(self, identity: str) -> list[object]:
        """Return the objects that use a database."""
        link = self.links.get(identity)
        return link.users if link is not None else []

    def release(self, user: object) -> None:
        """Forget an object; its database is closed when nobody uses it any more."""
        link = self.links.get(self._of.pop(user, ""))
        if link is None:
            return
        link.release(user)
        if not link.users:
            del self.links[link.identity]
            closing = asyncio.create_task(link.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all."""
        links, self.links = list(self.links.values()), {}
        await asyncio.gather(*self._closing, *(link.close() for link in links))
