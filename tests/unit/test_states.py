"""The table of transitions against the rules of the drawing."""

from __future__ import annotations

import pytest

from taskmill.states import FINAL, LIVE, TRANSITIONS, WAITING, By, State


def test_every_state_is_live_or_final() -> None:
    assert set(State) == LIVE | FINAL
    assert not LIVE & FINAL


def test_every_live_state_can_end() -> None:
    def reaches(source: State, seen: frozenset[State] = frozenset()) -> bool:
        targets = {target for _, start, target in TRANSITIONS if start is source} - seen
        return bool(targets & FINAL) or any(reaches(target, seen | {source}) for target in targets)

    assert [state for state in LIVE if not reaches(state)] == []


@pytest.mark.parametrize("final", sorted(FINAL))
def test_invariant_7_a_final_state_changes_only_by_manual_retry(final: State) -> None:
    leaving = {(by, target) for by, source, target in TRANSITIONS if source is final}
    assert leaving == {(By.RETRY, State.AVAILABLE), (By.RETRY, State.BLOCKED)}


def test_only_a_claim_makes_a_task_run_and_only_its_owner_or_the_rescuer_ends_that() -> None:
    assert {by for by, _, target in TRANSITIONS if target is State.RUNNING} == {By.CLAIM}
    assert {by for by, source, _ in TRANSITIONS if source is State.RUNNING} == {By.SETTLE, By.HAND_BACK, By.RESCUE}


@pytest.mark.parametrize("by", [By.CANCEL, By.EXPIRE])
def test_every_waiting_task_can_be_ended_from_outside(by: By) -> None:
    assert {source for who, source, _ in TRANSITIONS if who is by} == WAITING
