"""One seed, one schedule; and every kind of task has an end that is expected of it."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from taskmill.plugin.definition import TaskDefinition
from tests.chaos.__main__ import commands
from tests.chaos.driver import kinds
from tests.chaos.driver.__main__ import seeds_of
from tests.chaos.driver.clients import DOINGS, USUAL, request
from tests.chaos.driver.expect import DEADLY, ENDS
from tests.chaos.driver.run import plan
from tests.chaos.driver.schedule import Kind, rounds

KINDS = {"a": Kind("one", 1, 2), "b": Kind("one", 1, 2), "c": Kind("two", 1, 2), "d": Kind("three", 3, 4)}


def test_the_same_seed_gives_the_same_rounds() -> None:
    assert list(plan(7, 30)) == list(plan(7, 30))
    assert list(plan(7, 30)) != list(plan(8, 30))


def test_two_faults_of_a_round_are_of_two_families_and_overlap() -> None:
    for each in plan(3, 200):
        first, second = each.faults
        assert first.family != second.family
        assert second.after < first.seconds


def test_every_fault_comes_before_one_comes_often() -> None:
    seen = [fault.name for each in islice(rounds(random.Random(1), KINDS), 20) for fault in each.faults]
    assert set(seen) == set(KINDS)
    assert max(map(seen.count, KINDS)) <= 3 * min(map(seen.count, KINDS))


def test_every_kind_of_the_plugin_has_an_expected_end() -> None:
    made = {value.kind for value in vars(kinds).values() if isinstance(value, TaskDefinition)}
    assert made == set(ENDS)
    assert set(USUAL) | DEADLY | {"chaos.probe"} == made
    assert not DEADLY & set(USUAL)  # 只在故障里出现，否则恢复时间量的是它


def test_what_clients_ask_for_is_drawn_from_their_seed() -> None:
    assert request(random.Random(5))["kind"] == request(random.Random(5))["kind"]
    assert {"single", "batch", "delayed", "cancel", "retry"} <= set(DOINGS)


def test_random_seeds_are_drawn_and_numbers_are_kept() -> None:
    first, second = seeds_of(["7", "random"])
    assert first == 7
    assert second >= 0
    assert len(seeds_of(None)) == 1


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["pytest", "tests.chaos.driver"]),
        (["-k", "valkey"], ["pytest"]),
        (["--minutes", "10", "--seed", "7"], ["tests.chaos.driver"]),
        (["--seed=7"], ["tests.chaos.driver"]),
    ],
)
def test_the_target_of_make_runs_the_half_that_is_meant(arguments: list[str], parts: list[str]) -> None:
    found = commands(arguments)
    assert [command[2] for command in found] == parts
    assert all(command[-len(arguments) :] == arguments for command in found if arguments)
