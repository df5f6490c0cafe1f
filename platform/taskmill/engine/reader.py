"""Reader: tickets from all streams of a worker's queues, by weight, so that low priorities never starve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from taskmill import constants as c
from taskmill.engine import constants as ec
from taskmill.stores.broker.tickets import Entry, Lane, Tickets


def shares(budget: int, lanes: Sequence[Lane], credit: dict[Lane, float]) -> dict[Lane, int]:
    """Split `budget` over `lanes` by the weight of their priority (deficit round robin; `credit` carries rests over).

    The sum equals `budget`. Over many calls each lane's part converges to its weight, so with a budget of 1 the low
    priorities still get their turn.
    """
    total = sum(c.PRIORITY_WEIGHTS[priority] for _, priority in lanes)
    for lane in lanes:
        credit[lane] = credit.get(lane, 0.0) + budget * c.PRIORITY_WEIGHTS[lane[1]] / total
    counts = {lane: max(0, int(credit[lane])) for lane in lanes}
    rest = budget - sum(counts.values())
    for lane in sorted(lanes, key=lambda x: credit[x] - counts[x], reverse=True):
        if rest <= 0:
            break
        counts[lane] += 1
        rest -= 1
    for lane in lanes:
        credit[lane] = max(-1.0, min(1.0, credit[lane] - counts[lane])) if counts[lane] else min(credit[lane], 1.0)
    return counts


class Reader:
    """Reads new tickets for one consumer."""

    def __init__(self, tickets: Tickets, consumer: str, queues: Iterable[str]) -> None:
        self._tickets = tickets
        self._credit: dict[Lane, float] = {}
        self.consumer = consumer
        self.queues = sorted(queues)
        self.paused: frozenset[str] = frozenset()
        self._dry = False  # 等过一轮，一张票也没有

    @property
    def lanes(self) -> list[Lane]:
        """Return the (queue, priority) pairs that are read now, the most urgent first."""
        return [(queue, priority) for priority in c.PRIORITIES for queue in self.queues if queue not in self.paused]

    async def next(self, budget: int, block_ms: int = c.READ_BLOCK_MS) -> dict[Lane, list[Entry]]:
        """Return tickets that are there, or wait for the first; after a wait in vain it waits on without looking.

        To look at thousands of lanes is dear, and the wait itself begins with a look at all of them.
        """
        found = {} if self._dry else await self.read(budget)
        found = found or await self.wait(budget, block_ms)
        self._dry = not found
        return found

    async def read(self, budget: int) -> dict[Lane, list[Entry]]:
        """Return at most `budget` tickets without waiting: shares first, then what is left over, urgent first."""
        lanes = self.lanes
        if not lanes:
            return {}
        counts = {lane: n for lane, n in shares(budget, lanes, self._credit).items() if n}
        found = await self._tickets.read(self.consumer, counts)
        left = budget - sum(len(entries) for entries in found.values())
        if left > 0:
            # 给足了份额的道还有票；一条都没有时，没分到份额的道里也许有
            more = [lane for lane, count in counts.items() if len(found.get(lane, ())) == count]
            if not more and len(counts) < len(lanes):
                more = await self._tickets.nonempty([lane for lane in lanes if lane not in counts])
            if more:
                await self._fill(found, sorted(more, key=lanes.index), left)
        return found

    async def _fill(self, found: dict[Lane, list[Entry]], lanes: list[Lane], left: int) -> None:
        each = max(1, left // len(lanes))
        counts = dict.fromkeys(lanes[:left], each)
        for lane, entries in (await self._tickets.read(self.consumer, counts)).items():
            found.setdefault(lane, []).extend(entries)

    async def wait(self, budget: int, block_ms: int = c.READ_BLOCK_MS) -> dict[Lane, list[Entry]]:
        """Wait up to `block_ms` for the first tickets of any lane.

        A lane gives at least one, so with fewer places than lanes there may be more than `budget`: those wait for a
        place or are handed back. (To leave lanes out would let them starve.)
        """
        lanes = self.lanes
        if not lanes:
            return {}
        counts = dict.fromkeys(lanes, max(1, budget // len(lanes)))
        return await self._tickets.read(self.consumer, counts, block_ms)

    async def stop(self) -> None:
        """Leave the groups; where tickets are still pending the consumer stays, for the auditor."""
        await self._tickets.remove_consumer(self.consumer, self.queues)

    async def own_pending(self) -> dict[Lane, list[Entry]]:
        """Return tickets that were delivered to us but whose reply was lost."""
        found: dict[Lane, list[Entry]] = {}
        for queue in self.queues:
            for priority in c.PRIORITIES:
                entries = await self._tickets.own_pending(self.consumer, queue, priority, ec.READ_MAX)
                if entries:
                    found[queue, priority] = entries
        return found
