"""Free ports: a remembered one is kept only while nobody else listens there."""

from __future__ import annotations

import random
import socket

import pytest

from taskmill.dev import constants, ports


def listener() -> socket.socket:
    """Return a socket that listens on a free port."""
    taken = socket.socket()
    taken.bind((ports.HOST, 0))
    taken.listen()
    return taken


def test_a_free_remembered_port_is_kept() -> None:
    free = ports.choose(None)
    assert ports.choose(free) == free


def test_a_taken_port_is_replaced() -> None:
    with listener() as taken:
        number = taken.getsockname()[1]
        assert not ports.is_free(number)
        assert ports.choose(number) != number


def test_chosen_ports_lie_below_the_ephemeral_range() -> None:
    low, high = constants.DEV_PORTS
    assert all(low <= ports.choose(None) < high for _ in range(20))


def test_a_seeded_random_generator_does_not_make_two_processes_collide() -> None:
    chosen = set()
    for _ in range(5):
        random.seed(1)
        chosen.add(ports.choose(None))
    assert len(chosen) > 1


def test_without_a_free_port_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with listener() as taken:
        number = taken.getsockname()[1]
        monkeypatch.setattr(constants, "DEV_PORTS", (number, number + 1))
        with pytest.raises(OSError, match="no free port"):
            ports.choose(None)
