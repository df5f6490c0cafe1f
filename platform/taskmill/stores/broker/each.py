"""One read-only command for each of many keys, in one script: for thousands of keys a pipeline spends its time in the client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis

# KEYS 各问一次；ARGV 键之前有几个词、各词。出错的一个只错它自己
_EACH: Final = """
local words, before, found = {}, tonumber(ARGV[1]), {}
for i = 2, #ARGV do words[i - 1 + (i - 1 > before and 1 or 0)] = ARGV[i] end
for i = 1, #KEYS do
  words[before + 1] = KEYS[i]
  found[i] = redis.pcall(unpack(words))
end
return found
"""


async def each(redis: Redis, names: Sequence[str], command: Sequence[str], after: Sequence[str | int] = ()) -> list[Any]:
    """Return the plain reply of `command name after…` for each of `names`, in order; a ResponseError stands in its place."""
    if not names:
        return []
    replies: list[Any] = await redis.register_script(_EACH)(keys=names, args=[len(command), *command, *after])
    return replies
