"""Tickets in Valkey streams: 28 bytes that say "try to claim this row". Losing all of them loses nothing."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple
from uuid import UUID

import redis.asyncio as redis
from asyncpg.pgproto import pgproto
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as BrokerTimeoutError

from taskmill import constants as c
from taskmill import keys
from taskmill.errors import Code, UnavailableError
from taskmill.stores import constants as sc
from taskmill.stores.broker.each import each
from taskmill.stores.broker.link import Doubts, client
from taskmill.stores.why import why

BROKER_AWAY = (RedisError, OSError, TimeoutError)
_FORM = struct.Struct(">16siq")  # id、claim_no、ticket_at（PostgreSQL 时钟，毫秒）
NO_EPOCH = -1
# 首尾相接的票据是最后一个参数，到那边才切开：逐个当参数编码，比票据本身还贵
_ADD = f"""
for i = 0, n - 1 do
  redis.call('XADD', KEYS[1], '*', 't', string.sub(ARGV[#ARGV], i * {_FORM.size} + 1, (i + 1) * {_FORM.size}))
end
return n
"""
# 提交：KEYS 流、纪元；ARGV 窗口、标志字段、首尾相接的票据
# 返回接受的张数；-1 = 纪元不在（被清空），一张不收。放不下时立起标志，此后只有 stager 能补票
_SUBMIT = f"""
if redis.call('EXISTS', KEYS[2]) == 0 then return -1 end
if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then return 0 end
local room = tonumber(ARGV[1]) - redis.call('XLEN', KEYS[1])
local n = #ARGV[#ARGV] / {_FORM.size}
if n > room then
  redis.call('HSET', KEYS[2], ARGV[2], '1')
  if room < 0 then room = 0 end
  n = room
end
{_ADD}"""
# 补票（stager）：同上，但不看标志
_FEED = f"""
if redis.call('EXISTS', KEYS[2]) == 0 then return -1 end
local n = #ARGV[#ARGV] / {_FORM.size}
{_ADD}"""
# 消费组：KEYS 流…；已有的不动
_GROUPS = """
local function groups(first)
  for i = first, #KEYS do
    local made = redis.pcall('XGROUP', 'CREATE', KEYS[i], ARGV[1], '0', 'MKSTREAM')
    if type(made) == 'table' and made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then return made end
  end
end
"""
# 立纪元：KEYS 纪元、流…；ARGV 组、起点。一个脚本做完：若在两条命令之间被清空，就会有纪元而没有组
_BEGIN = f"""{_GROUPS}
local failed = groups(2)
if failed then return failed end
redis.call('HSETNX', KEYS[1], 'start', ARGV[2])
return 1
"""
# 补组：KEYS 纪元、流…；ARGV 组。流被删掉、组被撤掉而纪元还在时，读的人自己补上
_HEAL = f"""{_GROUPS}
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
return groups(2) or 1
"""
# 确认：KEYS 流；ARGV 组、条目编号…
_DROP = """
local ids = {}
for i = 2, #ARGV do ids[i - 1] = ARGV[i] end
redis.call('XACK', KEYS[1], ARGV[1], unpack(ids))
return redis.call('XDEL', KEYS[1], unpack(ids))
"""
# 撤消费者：KEYS 流；ARGV 组、消费者…；返回删掉几个。手里还有票的不删：它的待确认记录会跟着没，票就卡在流里
_REMOVE = """
local removed = 0
for i = 2, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[i]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[i])
    removed = removed + 1
  end
end
return removed
"""


class Ticket(NamedTuple):
    """Task id, the claim_no it was made for, and when (milliseconds of PostgreSQL's clock)."""

    id: UUID
    claim_no: int
    at_ms: int

    def pack(self) -> bytes:
        """Return the 28 bytes that travel."""
        return _FORM.pack(self.id.int.to_bytes(16), self.claim_no, self.at_ms)

    @classmethod
    def unpack(cls, raw: bytes) -> Ticket:
        """Read the 28 bytes."""
        identity, claim_no, at_ms = _FORM.unpack(raw)
        return cls(pgproto.UUID(identity), claim_no, at_ms)


def packed(tickets: Iterable[Ticket]) -> bytes:
    """Return the tickets one after the other, as the scripts take them."""
    return b"".join(map(Ticket.pack, tickets))


Entry = tuple[bytes, Ticket]
Lane = tuple[str, int]  # 队列与优先级：一条流


def no_group(error: BaseException) -> bool:
    """Say whether an error means that the stream or its consumer group is gone."""
    return isinstance(error, ResponseError) and ("NOGROUP" in str(error) or "no such key" in str(error))


class Tickets:
    """The streams of tickets and the hints; `lanes` asks many streams at once, `foreign_keys` repairs them.

    Methods raise one of BROKER_AWAY when Valkey does not answer. `redis` is for this folder and for tests only.
    """

    def __init__(self, url: str, *, window: int = c.STREAM_WINDOW) -> None:
        self.url = url
        self.window = window
        self._doubts = Doubts()
        self.redis: redis.Redis = client(url, self._doubts)
        self._submit = self.redis.register_script(_SUBMIT)
        self.feed_script = self.redis.register_script(_FEED)
        self._begin = self.redis.register_script(_BEGIN)
        self._heal = self.redis.register_script(_HEAL)
        self._drop = self.redis.register_script(_DROP)
        self._remove = self.redis.register_script(_REMOVE)

    async def close(self) -> None:
        """Close the connections; those that do not close in CLOSE_TIMEOUT_S seconds are left to the kernel."""
        with suppress(*BROKER_AWAY):
            async with asyncio.timeout(sc.CLOSE_TIMEOUT_S):
                await self.redis.aclose()

    async def ping(self) -> None:
        """Raise UnavailableError BROKER_UNAVAILABLE unless Valkey answers and takes writes."""
        try:
            await self.redis.execute_command("HSET", keys.writable(), "asked", 1)
        except BROKER_AWAY as error:
            raise UnavailableError(Code.BROKER_UNAVAILABLE, reason=why(error)) from error

    async def submit(self, queue: str, priority: int, tickets: Sequence[Ticket]) -> int:
        """Add tickets as far as the window allows; returns how many were taken (the first ones), NO_EPOCH if none may."""
        taken = 0
        for start in range(0, len(tickets), sc.TICKET_CHUNK):
            chunk = tickets[start : start + sc.TICKET_CHUNK]
            count = await self._submit(
                keys=[keys.tickets(queue, priority), keys.epoch(queue)],
                args=[self.window, keys.epoch_flag(priority), packed(chunk)],
            )
            if count == NO_EPOCH:
                return NO_EPOCH if taken == 0 else taken
            taken += count
            if count < len(chunk):
                break
        return taken

    async def feed(self, queue: str, priority: int, tickets: Sequence[Ticket]) -> bool:
        """Add the stager's tickets; False if the epoch is gone."""
        for start in range(0, len(tickets), sc.TICKET_CHUNK):
            chunk = packed(tickets[start : start + sc.TICKET_CHUNK])
            if await self.feed_script(keys=[keys.tickets(queue, priority), keys.epoch(queue)], args=[chunk]) == NO_EPOCH:
                return False
        return True

    async def drop(self, queue: str, priority: int, entries: Sequence[bytes]) -> None:
        """Acknowledge and delete stream entries."""
        for start in range(0, len(entries), sc.TICKET_CHUNK):
            await self._drop(
                keys=[keys.tickets(queue, priority)], args=[keys.GROUP, *entries[start : start + sc.TICKET_CHUNK]]
            )

    async def clear_flag(self, queue: str, priority: int) -> None:
        """Let submitters ticket again."""
        await self.redis.execute_command("HDEL", keys.epoch(queue), keys.epoch_flag(priority))

    async def begin_epoch(self, queue: str, start_ms: int, pipe: Any = None) -> None:
        """Make the consumer groups at id 0 and the epoch, all or nothing; what exists is left as it is."""
        streams = [keys.tickets(queue, priority) for priority in c.PRIORITIES]
        await self._begin(keys=[keys.epoch(queue), *streams], args=[keys.GROUP, start_ms], client=pipe)

    async def forget(self, queue: str) -> None:
        """Delete the streams and the epoch of a queue; if it comes back, the stager makes them anew."""
        streams = [keys.tickets(queue, priority) for priority in c.PRIORITIES]
        await self.redis.execute_command("DEL", keys.epoch(queue), *streams)

    async def _heal_group(self, queue: str, priority: int) -> None:
        """纪元在而组不在（有人删了流）：补上，从头读起；纪元也不在就等 stager。"""
        await self._heal(keys=[keys.epoch(queue), keys.tickets(queue, priority)], args=[keys.GROUP])

    async def length(self, queue: str, priority: int) -> int:
        """Return how many tickets are in the stream, read ones that were not dropped included."""
        length: int = await self.redis.xlen(keys.tickets(queue, priority))
        return length

    async def nonempty(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Return those (queue, priority) pairs whose stream holds tickets, in one round trip."""
        lengths = await each(self.redis, [keys.tickets(*lane) for lane in lanes], ["XLEN"])
        return [lane for lane, length in zip(lanes, lengths, strict=True) if length]

    async def entries(self, queue: str, priority: int, entries: Sequence[bytes]) -> list[Entry]:
        """Return the entries of these ids that are still in the stream."""
        stream = keys.tickets(queue, priority)
        async with self.pipeline() as pipe:
            for entry in entries:
                pipe.xrange(stream, entry, entry)
            replies = await pipe.execute()
        return [found for reply in replies for found in _entries(reply)]

    async def read(self, consumer: str, counts: Mapping[Lane, int], block_ms: int | None = None) -> dict[Lane, list[Entry]]:
        """Read new tickets, at most `counts` per (queue, priority), in one round trip.

        With `block_ms` it waits for the first to come: then the smallest count holds for every stream. A stream whose
        group is missing counts as empty: the group is made anew, or with its epoch by the stager.
        """
        if block_ms is not None:
            return await self._read_blocking(consumer, counts, block_ms)
        streams = list(counts)
        async with self.pipeline() as pipe:
            for queue, priority in streams:
                pipe.xreadgroup(keys.GROUP, consumer, {keys.tickets(queue, priority): ">"}, count=counts[queue, priority])
            replies = await pipe.execute(raise_on_error=False)
        found: dict[Lane, list[Entry]] = {}
        for stream, reply in zip(streams, replies, strict=True):
            if no_group(reply):
                await self._heal_group(*stream)
                continue
            if isinstance(reply, Exception):
                raise reply
            if reply:
                found[stream] = _entries(reply[0][1])
        return found

    async def _read_blocking(self, consumer: str, counts: Mapping[Lane, int], block_ms: int) -> dict[Lane, list[Entry]]:
        names = {keys.tickets(*stream).encode(): stream for stream in counts}
        try:
            reply: Any = await self.redis.xreadgroup(
                keys.GROUP, consumer, dict.fromkeys(names, ">"), count=min(counts.values()), block=block_ms
            )
        except ResponseError as error:
            if not no_group(error):
                raise
            # 新队列或流被清空：一条没有组，一起等就等不成。逐条读；都没有票就等 stager 建好消费组，别空转
            found = await self.read(consumer, counts)
            if not found:
                await asyncio.sleep(c.STAGER_PERIOD_S)
            return found
        return {names[name]: _entries(entries) for name, entries in reply or []}

    async def own_pending(self, consumer: str, queue: str, priority: int, count: int) -> list[Entry]:
        """Return tickets already delivered to `consumer`: the ones whose reply was lost."""
        try:
            reply: Any = await self.redis.xreadgroup(keys.GROUP, consumer, {keys.tickets(queue, priority): "0"}, count=count)
        except ResponseError as error:
            if not no_group(error):
                raise
            return []
        return _entries(reply[0][1]) if reply else []

    async def remove_consumer(self, consumer: str, queues: Sequence[str]) -> None:
        """Delete a consumer from every stream of these queues, as `remove_consumers` does."""
        for queue in queues:
            for priority in c.PRIORITIES:
                await self.remove_consumers(queue, priority, [consumer])

    async def remove_consumers(self, queue: str, priority: int, consumers: Sequence[str]) -> int:
        """Delete consumers of one stream that hold no pending ticket: those would be stuck; returns how many."""
        try:
            return int(await self._remove(keys=[keys.tickets(queue, priority)], args=[keys.GROUP, *consumers]))
        except ResponseError as error:
            if not no_group(error):
                raise
            return 0

    async def version(self) -> str:
        """Return the version of the server."""
        info: dict[str, str] = await self.redis.info("server")
        return info.get("valkey_version") or info["redis_version"]

    async def hint(self, worker_id: UUID) -> None:
        """Ask a worker to look at PostgreSQL at once."""
        await self.redis.execute_command("PUBLISH", keys.hints(worker_id), b"1")

    async def hints(self, worker_id: UUID) -> AsyncGenerator[bool, None]:
        """Yield True for a hint to this worker and False every READ_BLOCK_MS without one; never ends by itself.

        Raises one of BROKER_AWAY when the connection is lost. A silent one is asked for a sign of life: a subscriber
        sends nothing by itself and would never notice.
        """
        async with self.redis.pubsub() as channel:
            await channel.subscribe(keys.hints(worker_id))
            heard, asked = time.monotonic(), False
            while True:
                message = await channel.get_message(timeout=c.READ_BLOCK_MS / 1000)
                if message is not None:
                    heard, asked = time.monotonic(), False
                elif time.monotonic() - heard >= 2 * sc.HINT_PING_S:
                    raise BrokerTimeoutError
                elif time.monotonic() - heard >= sc.HINT_PING_S and not asked:
                    await channel.ping()
                    asked = True
                yield message is not None and message["type"] == "message"

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[Any]:
        """Give a pipeline: commands that share a round trip, not a transaction."""
        async with self.redis.pipeline(transaction=False) as pipe:
            yield pipe


def _entries(raw: Any) -> list[Entry]:
    """删除过的待确认条目字段为 None：没有票据可读，跳过。"""
    return [(entry, Ticket.unpack(fields[sc.TICKET_FIELD])) for entry, fields in raw if fields]
