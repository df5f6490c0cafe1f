"""`taskmill.Taskmill`: the platform from inside an application's process, in its event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, cast, overload
from uuid import UUID

from taskmill import reasons
from taskmill.controls.options import SubmitOptions
from taskmill.controls.request import TaskRequest
from taskmill.door.chunks import chunks, total
from taskmill.door.interface import Door, Order
from taskmill.door.orders import PlatformOrder
from taskmill.door.progress import Progress
from taskmill.door.telling import told
from taskmill.errors import Code, InputError

if TYPE_CHECKING:
    from taskmill.services.tasks.entrance import Entrance

R = TypeVar("R")


class Taskmill(Door):
    """Submits tasks and waits for them, over connections of its own or in the caller's transaction. One event loop uses it.

    What is not given is taken from the environment: TASKMILL_DATABASE_URL, TASKMILL_BROKER_URL and the other settings.
    """

    def __init__(self, *, database_url: str | None = None, broker_url: str | None = None) -> None:
        self._urls = database_url, broker_url
        self._opened: Entrance | None = None

    async def open(self) -> Self:
        """Connect, for programs that cannot say `async with`; errors as of `__aenter__`."""
        # 服务与驱动到此才导入：只声明、不打开的程序不必等那半秒
        from taskmill.services.tasks.entrance import Entrance  # noqa: PLC0415

        if self._opened is None:
            with told():
                self._opened = await Entrance.open(*self._urls)
        return self

    async def close(self) -> None:
        """Wait for submits that are under way, end all waits for results, close the connections."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def entrance(self) -> Entrance:
        """Return what is open behind it; InputError USAGE if nothing is."""
        if self._opened is None:
            raise InputError(Code.USAGE, reason=reasons.NOT_OPEN)
        return self._opened

    @overload
    async def submit(
        self, request: TaskRequest[R], /, *, connection: object | None = None, **options: Unpack[SubmitOptions]
    ) -> Order[R]: ...
    @overload
    async def submit(
        self, request: str, args: Any = None, /, *, connection: object | None = None, **options: Unpack[SubmitOptions]
    ) -> Order[Any]: ...
    async def submit(
        self,
        request: TaskRequest[Any] | str,
        args: Any = None,
        /,
        *,
        connection: object | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Order[Any]:
        """See `Door.submit`."""
        entrance = self.entrance
        with told():
            done = await entrance.submit(request, args, connection, options)
        return PlatformOrder.of(entrance, request, done, uncommitted=connection is not None)

    async def submit_many(
        self,
        requests: Iterable[TaskRequest[R]] | AsyncIterable[TaskRequest[R]],
        *,
        connection: object | None = None,
        progress: bool | None = None,
        **options: Unpack[SubmitOptions],
    ) -> AsyncGenerator[Order[R], None]:
        """See `Door.submit_many`. End it early with `contextlib.aclosing`, or by going through it."""
        entrance, count = self.entrance, 0
        with Progress(total(requests), wanted=progress) as bar:
            async with aclosing(chunks(requests, entrance.chunk)) as parts:
                async for part in parts:
                    with told(count):
                        done = await entrance.submit_all(part, connection, options)
                    count += len(part)
                    bar.advance(len(part))
                    for request, each in zip(part, done, strict=True):
                        yield PlatformOrder.of(entrance, request, each, uncommitted=connection is not None)

    def order(self, task_id: UUID | str, kind: str = "") -> Order[Any]:
        """See `Door.order`. Its result is plain JSON."""
        return cast("Order[Any]", PlatformOrder(self.entrance, UUID(str(task_id)), kind))
