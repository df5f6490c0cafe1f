"""Letting blocked tasks go: the transition release, and the tickets that it makes.

Whoever calls this has the rows locked, by a statement before: only then it sees what others have done to their parents and
their sequence. Called once too often it does nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from operator import itemgetter
from uuid import UUID

from taskmill.models.task_queue import KEYED
from taskmill.states import By, State, sources
from taskmill.stores.broker.lanes import Lane
from taskmill.stores.broker.tickets import Ticket
from taskmill.stores.database import Connection
from taskmill.stores.tasks.history import NOW_MS, state_in
from taskmill.stores.tasks.rates import Place

# 等的都结束了，也轮到它了
FREE = """
      not exists (select from taskmill.task_dependencies d where d.child_id = t.id offset 0)
  and (t.sequence_key is null
       or exists (select from taskmill.sequence_turns s where s.key = t.sequence_key and s.head = t.id offset 0))
"""
_DUE = "t.run_at <= statement_timestamp()"  # 本事务开始之后才提交的也算到期了
# 转移 release：blocked → available / scheduled。从此刻起它才可运行：等的时间从这里算。有上限的队列里照提交时的样子排队
RELEASE = f"""
update taskmill.tasks t
set state = case when {_DUE} then 'available' else 'scheduled' end, run_at = greatest(t.run_at, statement_timestamp()),
    slot = case when {_DUE} then f.slot end,
    ticket_at = case when {_DUE} and f.slot is null then {NOW_MS} end, updated_at = clock_timestamp()
from unnest($1::uuid[]) as u(id) join taskmill.tasks x on x.id = any (array[u.id])
left join lateral (
  select case when {KEYED} and x.concurrency_key is not null then 0 when x.fairness_key is not null then 3 else 1 end as slot
  from taskmill.queues q where q.name = x.queue and (q.limited or x.fairness_key is not null)) f on true
where t.id = any (array[u.id]) and {state_in(sources(By.RELEASE))} and {FREE}
returning t.id, t.queue, t.priority, t.claim_no, t.state, t.slot, t.concurrency_key,
          (extract(epoch from t.ticket_at) * 1000)::bigint as at_ms
"""
# 有没有什么要人去看：没有说给父任务听的、孩子太多而推后的、有新来的序列、轮到时正被锁着的；都是空的索引
PENDING = """
select exists (select from taskmill.task_dependencies where not armed order by child_id limit 1)
    or exists (select from taskmill.ended_parents order by id limit 1)
    or exists (select from taskmill.sequences where fresh order by key limit 1)
    or exists (select from taskmill.sequence_turns where head is null order by key limit 1)
"""


@dataclass(slots=True)
class LetGo:
    """What was let go: tickets to be sent after the commit, places of queues with limits where one lines up, and all ids."""

    tickets: dict[Lane, list[Ticket]] = field(default_factory=dict)
    places: set[Place] = field(default_factory=set)
    ids: set[UUID] = field(default_factory=set)

    def add(self, other: LetGo) -> None:
        """Take in what another statement let go."""
        for lane, tickets in other.tickets.items():
            self.tickets.setdefault(lane, []).extend(tickets)
        self.places |= other.places
        self.ids |= other.ids


async def release(connection: Connection, ids: Collection[UUID]) -> LetGo:
    """Let those of the blocked tasks go that wait for nothing any more."""
    made = LetGo()
    if not ids:
        return made
    for row in sorted(await connection.fetch(RELEASE, sorted(ids)), key=itemgetter("id")):
        made.ids.add(row["id"])
        if row["slot"] is not None:
            made.places.add((row["queue"], row["concurrency_key"]))
        elif row["state"] == State.AVAILABLE:
            ticket = Ticket(row["id"], row["claim_no"], row["at_ms"])
            made.tickets.setdefault((row["queue"], row["priority"]), []).append(ticket)
    return made
