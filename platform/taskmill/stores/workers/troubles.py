"""The troubles of a worker as its row holds them."""

from __future__ import annotations

import msgspec


class Troubles(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What keeps a worker from its work. `broker`: what Valkey said instead of an answer, for `broker_s` seconds now.

    `plugins`: those that did not come up, by name, with their words. `declined`: kinds (`kind:version`) of tasks that it put
    back within the last minute because it does not serve them.
    """

    broker: str = ""
    broker_s: int = 0
    plugins: dict[str, str] = {}
    declined: list[str] = []


NONE = Troubles()
_DECODER = msgspec.json.Decoder(Troubles)


def encode(troubles: Troubles) -> str:
    """Return the text of the column."""
    return msgspec.json.encode(troubles).decode()


def decode(raw: str | bytes | None) -> Troubles:
    """Return the troubles that a column holds; None: a schema that has it not yet."""
    return NONE if raw is None else _DECODER.decode(raw)
