"""Histograms of times in the rollups: fixed buckets, packed into one number so that histograms add up by `+` and `sum`.

Bucket 0 is below 1 ms; bucket k ≥ 1 begins at 2^((k-1)/2) ms, so each is √2 times as wide as the one before; the last begins at
2^29.5 ms, 8.8 days. A time is told as the geometric middle of its bucket: wrong by 2^(1/4) - 1 = 19 % at most between 1 ms and
8.8 days, by half a millisecond below. The count of bucket k stands in the digits 12k … 12k + 11 of the number.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

BUCKETS: Final = 60  # 之外还有 0 号：不到一毫秒的
DIGITS: Final = 12  # 一个桶占几位十进制数字：一万亿次也装得下，不会进位到邻居
BASE: Final = 10**DIGITS
ERROR: Final = 2**0.25 - 1  # 相对误差的上界

_BOUNDS: Final = ",".join(repr(2 ** (k / 2)) for k in range(BUCKETS))
_PLACES: Final = ",".join(f"1e{DIGITS * k}" for k in range(BUCKETS + 1))


def sum_of(milliseconds: str) -> str:
    """Return the SQL aggregate that packs an expression of type float8, in milliseconds; null times count for nothing."""
    place = f"('{{{_PLACES}}}'::numeric[])[width_bucket({milliseconds}, '{{{_BOUNDS}}}'::float8[]) + 1]"
    return f"coalesce(sum({place}), 0)"


def counts(packed: str) -> list[int]:
    """Return how many times each bucket has, of the number as PostgreSQL writes it; buckets behind the last that has any are left out."""
    return [int(packed[max(0, end - DIGITS) : end]) for end in range(len(packed), 0, -DIGITS)]


def quantiles_ms(packed: str, wanted: Sequence[float]) -> list[float] | None:
    """Return the wanted quantiles in milliseconds, each within ERROR of a time that has that rank; None if nothing was counted."""
    below = list(accumulate(counts(packed)))
    total = below[-1]
    return [_middle(bisect_left(below, max(1, math.ceil(each * total)))) for each in wanted] if total else None


def _middle(bucket: int) -> float:
    return 0.5 if bucket == 0 else 2 ** ((bucket - 1) / 2 + 0.25)
