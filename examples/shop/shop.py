"""A small shop: `POST /orders` writes an order and submits its mail in one transaction, so that there is never one without the other."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import State
from litestar.exceptions import NotFoundException
from mails import confirm

from taskmill import Taskmill, TaskmillError


class NewOrder(msgspec.Struct):
    """The body of `POST /orders`."""

    email: Annotated[str, msgspec.Meta(pattern="^[^@ ]+@[^@ ]+$", max_length=200)]
    item: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    quantity: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1


class Order(NewOrder, kw_only=True):
    """An order, the task that confirms it, and how far that is."""

    number: int
    mail_id: UUID
    mail: str


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    """Open the shop's own database and the door to Taskmill, which reads TASKMILL_DATABASE_URL and TASKMILL_BROKER_URL."""
    url = os.environ.get("SHOP_DATABASE_URL") or os.environ["TASKMILL_DATABASE_URL"]
    async with asyncpg.create_pool(url, min_size=1) as pool, Taskmill() as tm:
        app.state.pool, app.state.tm = pool, tm
        yield


@post("/orders")
async def place(data: NewOrder, state: State) -> Order:
    """Take an order. Whatever happens in between, both are there afterwards or neither is."""
    async with state.pool.acquire() as connection, connection.transaction():
        number = await connection.fetchval(
            "insert into shop.orders (email, item, quantity) values ($1, $2, $3) returning number",
            data.email,
            data.item,
            data.quantity,
        )
        mail = await state.tm.submit(
            confirm.request(number=number, to=data.email, item=data.item, quantity=data.quantity),
            connection=connection,
            tags=[f"order-{number}"],
        )
        await connection.execute("update shop.orders set mail_id = $2 where number = $1", number, mail.id)
    return Order(data.email, data.item, data.quantity, number=number, mail_id=mail.id, mail="available")


@get("/orders/{number:int}")
async def show(number: int, state: State) -> Order:
    """Show an order and the state of its mail."""
    row = await state.pool.fetchrow("select * from shop.orders where number = $1", number)
    if row is None:
        raise NotFoundException(f"no order {number}")
    mail = await state.tm.order(row["mail_id"]).status()
    return Order(row["email"], row["item"], row["quantity"], number=number, mail_id=row["mail_id"], mail=mail.value)


def refused(_: Request[Any, Any, Any], error: TaskmillError) -> Response[dict[str, str]]:
    """Answer as Taskmill's own API would, such as 429 if the queue is full; the order is rolled back."""
    return Response({"code": error.code, "message": error.message()["en"]}, status_code=error.spec.status)


app = Litestar([place, show], lifespan=[lifespan], exception_handlers={TaskmillError: refused})
