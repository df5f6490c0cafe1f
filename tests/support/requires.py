"""Tests that need what not every machine has: skipped with one line, but an error where `CI=true`."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(what: str, *, target: str) -> NoReturn:
    """Skip the test because `what` is missing, naming the make target that enables it; in CI fail instead."""
    reason = f"{what} is missing; `make {target}` provides it"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
