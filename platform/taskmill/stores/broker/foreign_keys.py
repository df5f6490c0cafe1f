"""Keys of ours that somebody filled with another type: found by name, and given up for the queue to begin anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from taskmill import constants as c
from taskmill import keys
from taskmill.stores import constants as sc
from taskmill.stores.broker.each import each
from taskmill.stores.broker.tickets import Tickets

EPOCH_TYPE: Final = "hash"
STREAM_TYPE: Final = "stream"
# 键的类型不对就删，连同纪元：流只是调度，stager 会从 PostgreSQL 重建。查与删在一个脚本里，不会删到刚建好的
_REPAIR: Final = """
local gone = {}
for i = 1, #KEYS do
  local found, wanted = redis.call('TYPE', KEYS[i]).ok, i == 1 and 'hash' or 'stream'
  if found ~= 'none' and found ~= wanted then gone[#gone + 1] = KEYS[i] .. ' (' .. found .. ')' end
end
if #gone > 0 then
  for i = 1, #KEYS do
    if i == 1 or redis.call('TYPE', KEYS[i]).ok ~= 'stream' then redis.call('DEL', KEYS[i]) end
  end
end
return gone
"""


def _keys(queue: str) -> list[str]:
    return [keys.epoch(queue), *(keys.tickets(queue, priority) for priority in c.PRIORITIES)]


async def find(tickets: Tickets, queues: Sequence[str]) -> list[str]:
    """Return the queues with a key of a foreign type; raises one of BROKER_AWAY."""
    wanted = [EPOCH_TYPE, *(STREAM_TYPE for _ in c.PRIORITIES)]
    found: list[str] = []
    for start in range(0, len(queues), sc.FOREIGN_CHUNK):
        part = queues[start : start + sc.FOREIGN_CHUNK]
        names = [name for queue in part for name in _keys(queue)]
        replies = [reply.decode() for reply in await each(tickets.redis, names, ["TYPE"])]
        for index, queue in enumerate(part):
            types = replies[index * len(wanted) : (index + 1) * len(wanted)]
            if any(kind not in {"none", right} for kind, right in zip(types, wanted, strict=True)):
                found.append(queue)
    return found


async def repair(tickets: Tickets, queue: str) -> list[str]:
    """Delete keys of foreign types and the queue's epoch; returns `key (type)` of each. The stager begins it anew."""
    gone: list[bytes] = await tickets.redis.register_script(_REPAIR)(keys=_keys(queue))
    return [name.decode() for name in gone]
