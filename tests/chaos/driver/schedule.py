"""Which faults happen when: all of it drawn from one seed before anything runs.

A round is two faults of different families that overlap, and sometimes a role that is asked to leave (SIGTERM) meanwhile.
Faults come from shuffled decks, so that none comes twice before all have come once.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count

ROLES = ("api-0", "api-1", "worker-0", "worker-1", "worker-2", "scheduler-0", "scheduler-1")
LEAVING = 0.6  # 多大比例的轮次里，还有一个角色被请走
OVERLAP = 0.6  # 第二个故障最迟在第一个过了多大一部分时开始


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault of a round: `after` seconds from the round's begin, for `seconds`; `seed` decides the rest."""

    name: str
    family: str
    after: float
    seconds: float
    seed: int


@dataclass(frozen=True, slots=True)
class Round:
    """What happens between two times of calm. `leaver` gets SIGTERM `leaves_after` seconds after the begin."""

    number: int
    faults: tuple[Planned, ...]
    leaver: str | None
    leaves_after: float

    def __str__(self) -> str:
        parts = [f"{each.name} ({each.family}) +{each.after:.1f} s for {each.seconds:.1f} s" for each in self.faults]
        if self.leaver is not None:
            parts.append(f"SIGTERM to {self.leaver} +{self.leaves_after:.1f} s")
        return f"round {self.number}: " + " | ".join(parts)


@dataclass(frozen=True, slots=True)
class Kind:
    """What may be planned of a fault: its family and how long it may last, in seconds."""

    family: str
    least: float
    most: float


def rounds(rng: random.Random, kinds: Mapping[str, Kind]) -> Iterator[Round]:
    """Yield rounds without end; the same state of `rng` and the same kinds give the same rounds."""
    deck: list[str] = []
    for number in count(1):
        first = _draw(rng, kinds, deck, avoid=None)
        second = _draw(rng, kinds, deck, avoid=kinds[first].family)
        one = _planned(rng, kinds, first, 0.0)
        other = _planned(rng, kinds, second, rng.uniform(0, one.seconds * OVERLAP))
        leaver = rng.choice(ROLES) if rng.random() < LEAVING else None
        span = max(each.after + each.seconds for each in (one, other))
        yield Round(number, (one, other), leaver, rng.uniform(0.2, 0.8) * span)


def _draw(rng: random.Random, kinds: Mapping[str, Kind], deck: list[str], *, avoid: str | None) -> str:
    if not any(kinds[name].family != avoid for name in deck):
        fresh = sorted(kinds)
        rng.shuffle(fresh)
        deck.extend(fresh)
    for name in deck:
        if kinds[name].family != avoid:
            deck.remove(name)
            return name
    message = "every fault is of one family"
    raise ValueError(message)


def _planned(rng: random.Random, kinds: Mapping[str, Kind], name: str, after: float) -> Planned:
    kind = kinds[name]
    return Planned(name, kind.family, round(after, 2), round(rng.uniform(kind.least, kind.most), 2), rng.getrandbits(32))
