"""What a program needs to submit tasks and to wait for them, and no more: no plugins, no API, no loops of a role.

The garbage collector of the program, its event loop and its logging are left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from taskmill import reasons
from taskmill.clock import SYSTEM_CLOCK
from taskmill.controls.request import TaskRequest
from taskmill.errors import Code, InputError, NotFoundError, placed
from taskmill.services import constants as c
from taskmill.services.tasks import guests
from taskmill.services.tasks.ends import Ends
from taskmill.services.tasks.guests import GuestSubmit
from taskmill.services.tasks.submit import SubmitService
from taskmill.services.tasks.submit_request import SubmitRequest, request_of
from taskmill.services.tasks.submitted import Submitted
from taskmill.settings import Settings, load_settings
from taskmill.states import State
from taskmill.stores.broker.tickets import Tickets
from taskmill.stores.broker.url import check_broker
from taskmill.stores.database import Database
from taskmill.stores.tasks import control
from taskmill.stores.tasks.ends import End
from taskmill.stores.tasks.submit import NewTask


class Entrance:
    """Connections and services of one program, opened and closed together, in one event loop."""

    def __init__(self, settings: Settings, database: Database, tickets: Tickets) -> None:
        self._database = database
        self._tickets = tickets
        self._loop = asyncio.get_running_loop()
        self.chunk = min(settings.batch_max_tasks, c.DOOR_CHUNK)
        self.service = SubmitService(settings, database, tickets, SYSTEM_CLOCK)
        self.ends = Ends(database, SYSTEM_CLOCK)
        self._guests = GuestSubmit(self.service)

    @classmethod
    async def open(cls, database_url: str | None = None, broker_url: str | None = None) -> Entrance:
        """Connect to PostgreSQL; Valkey may still be away. What is not given is taken from the environment.

        SetupError CONFIG_INVALID, UnavailableError DATABASE_UNAVAILABLE.
        """
        given = {"database_url": database_url, "broker_url": broker_url}
        settings = load_settings(**{name: url for name, url in given.items() if url is not None})
        database_url, broker_url = settings.require_urls()
        check_broker(broker_url)
        database = Database(
            database_url,
            pool_size=settings.pool_size,
            orm_pool_size=settings.orm_pool_size,
            command_timeout_s=settings.database_timeout_s,
        )
        tickets = Tickets(broker_url, window=settings.stream_window)
        await database.open()
        return cls(settings, database, tickets)

    async def close(self) -> None:
        """Finish submits that are under way, end the waits, close every connection."""
        await self.ends.close()
        await self.service.close()
        await asyncio.gather(self._tickets.close(), self._database.close())

    async def submit(
        self, request: TaskRequest[Any] | str, args: Any, connection: object | None, options: Mapping[str, Any]
    ) -> Submitted:
        """Store one task; errors as of `SubmitService.submit`, with a connection as of `GuestSubmit.submit`."""
        self._check_loop()
        wanted = request_of(request, args, options)
        if connection is None:
            return await self.service.submit(wanted)
        return (await self._guests.submit(connection, [wanted]))[0]

    async def submit_all(
        self, requests: Sequence[TaskRequest[Any]], connection: object | None, options: Mapping[str, Any]
    ) -> list[Submitted]:
        """Store all or none; errors as of `SubmitService.submit_many`."""
        self._check_loop()
        wanted = self.wanted(requests, options)
        if connection is None:
            return await self.service.submit_many(wanted)
        return await self._guests.submit(connection, wanted)

    def wanted(self, requests: Sequence[TaskRequest[Any]], options: Mapping[str, Any]) -> list[SubmitRequest]:
        """Return what is asked for; InputError INVALID_REQUEST with the `index`."""
        made: list[SubmitRequest] = []
        for index, request in enumerate(requests):
            with placed(index):
                made.append(request_of(request, None, options))
        return made

    async def prepare(self, wanted: Sequence[SubmitRequest]) -> list[NewTask]:
        """The first half of a submit on a connection that only its own thread may use; `store` is the second."""
        return await self._guests.prepare(wanted)

    @staticmethod
    def store(connection: object, wanted: Sequence[SubmitRequest], tasks: Sequence[NewTask]) -> list[Submitted]:
        """Store what was prepared, without an event loop."""
        return guests.stored(connection, wanted, tasks)

    async def state(self, task_id: UUID) -> State:
        """Return the state of a task; NotFoundError TASK_NOT_FOUND."""
        self._check_loop()
        async with self._database.pool.acquire() as connection:
            found = await control.state_of(connection, task_id)
        if found is None:
            raise NotFoundError(Code.TASK_NOT_FOUND, id=str(task_id))
        return found

    async def end(self, task_id: UUID, *, uncommitted: bool) -> End:
        """Wait for the end of a task; errors as of `Ends.wait`."""
        self._check_loop()
        return await self.ends.wait(task_id, uncommitted=uncommitted)

    def _check_loop(self) -> None:
        """连接属于打开它的事件循环：别的循环用了，等的人再也等不到。"""
        if asyncio.get_running_loop() is not self._loop:
            raise InputError(Code.USAGE, reason=reasons.OTHER_LOOP)
