"""One round for one TaskSchedule: the timetable goes to the database, where it stands comes back as status."""

from __future__ import annotations

from dataclasses import replace

from taskmill.errors import ConflictError, InputError, NotFoundError
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.crd.model import InvalidSpec, parse_schedule
from taskmill.kube.loop.apply import NotLeadingError
from taskmill.kube.loop.rounds import Rounds
from taskmill.kube.observe.databases import DatabaseLink
from taskmill.kube.observe.facts import Connected
from taskmill.kube.plan.schedule import plan_schedule
from taskmill.kube.state import Manifest, PutSchedule, Refusal, ScheduleState
from taskmill.services.fleet import ScheduleFact


class ScheduleReconciler(Rounds):
    """Rounds for TaskSchedules."""

    async def _round(self, key: Key, manifest: Manifest, token: int) -> float:  # noqa: ARG002 - 计划不带围栏令牌
        facts = self._tools.facts
        connected = await self._connect(key, manifest)
        state = ScheduleState(
            now=self._tools.clock.now(), schedule=manifest, secrets=connected.secrets,
            database=facts.database_fact(connected), namespace_terminating=await facts.terminating(manifest),
        )  # fmt: skip
        made = plan_schedule(state)
        if made.put is not None and connected.link is not None:
            if self._tools.token() is None:
                raise NotLeadingError
            made = plan_schedule(replace(state, answer=await _put(connected.link, made.put)))
        await self._tools.applier.run(key, made.actions, connected.link)
        wait = await self._publish(key, manifest, made.status, made.events)
        return min(made.requeue_s, wait or made.requeue_s)

    async def _connect(self, key: Key, manifest: Manifest) -> Connected:
        try:
            schedule = parse_schedule(manifest)
        except InvalidSpec:
            return Connected({}, None)
        return await self._tools.facts.connect(key, schedule, (schedule.spec.connection.database_secret_ref.name,))


async def _put(link: DatabaseLink, put: PutSchedule) -> ScheduleFact | Refusal:
    service = await link.service()
    try:
        return await service.put_schedule(put.request, owner=put.owner, suspend=put.suspend)
    except (InputError, ConflictError, NotFoundError) as error:
        return Refusal(error.code.value, error.words.en)
