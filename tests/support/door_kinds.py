"""Kinds that the tests of the door submit."""

from __future__ import annotations

from uuid import UUID

import msgspec

from taskmill import Concurrency, Fairness, RetryPolicy, TaskContext, Unique, task


class Sum(msgspec.Struct):
    """What `door.add` returns."""

    total: int


@task("door.echo")
async def echo(ctx: TaskContext, text: str = "") -> str:
    """Return what it was given."""
    return text


@task("door.add", executor="thread")
def add(a: int, b: int) -> Sum:
    """Add two numbers, in a thread."""
    return Sum(a + b)


@task("door.fail", retry=RetryPolicy(max_attempts=1))
async def fail(text: str) -> None:
    """Fail at once."""
    raise ValueError(text)


@task("door.once", unique=Unique(by=["to"]), queue="mail")
async def once(to: str, text: str = "") -> str:
    """A mail that goes to each address once at a time."""
    return text


@task("door.keyed", concurrency=Concurrency(key="c-{user}"), fairness=Fairness(key="f-{user}"), queue="keyed")
async def keyed(user: int) -> int:
    """Count against the limits of its user."""
    return user


@task("door.chain")
async def chain(ctx: TaskContext, text: str) -> UUID:
    """Submit a further task from a coroutine."""
    return await ctx.submit(echo.request(text=text), tags=["chained"])


@task("door.chain_in_thread")
def chain_in_thread(ctx: TaskContext, text: str) -> UUID:
    """Submit a further task from a thread."""
    return ctx.submit_sync(echo.request(text=text), tags=["chained"])


KINDS = (echo, add, fail, once, keyed, chain, chain_in_thread)
