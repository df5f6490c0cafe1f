"""A kind whose args have every sort of field that a form can show."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from taskmill.plugin.definition import task
from taskmill.plugin.registry import Registry
from taskmill.services.kinds import publish
from taskmill.services.platform import Platform

RICH = "shop.bill"


class Address(msgspec.Struct, forbid_unknown_fields=True):
    """Where to send it."""

    street: Annotated[str, msgspec.Meta(min_length=2, description="With the number of the house.")]
    zip: Annotated[int, msgspec.Meta(ge=1)] = 5


@task(RICH)
async def bill(
    text: str,
    order: Annotated[int, msgspec.Meta(ge=1, description="Number of the order.")],
    code: Annotated[str, msgspec.Meta(pattern="^[A-Z]+$")] = "A",
    rate: float = 1.5,
    paid: bool = False,
    colour: Literal["red", "green", 3] = "red",
    lines: list[str] = [],  # noqa: B006 - 只看它的 Schema
    counts: Annotated[list[int], msgspec.Meta(max_length=3)] | None = None,
    address: Address | None = None,
    extra: dict[str, int] | None = None,
    either: int | str = 3,
) -> dict[str, Any]:
    """Write a bill."""
    return {"text": text}


async def publish_rich(platform: Platform) -> None:
    """Make the kind known, as a worker with its plugin does."""
    registry = Registry()
    registry.bound("shop", "1")
    registry.add(bill)
    await publish(platform.database, registry)
