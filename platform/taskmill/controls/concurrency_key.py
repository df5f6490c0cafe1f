"""Concurrency keys: what a task counts against in a queue with a limit per key."""

from __future__ import annotations

from typing import ClassVar

from taskmill.controls.key_template import KeyTemplate


class Concurrency(KeyTemplate, frozen=True, kw_only=True):
    """Where the concurrency key of a kind's tasks comes from: a text in which `{customer.id}` stands for an arg.

    Example: `Concurrency(key="customer-{customer.id}")`. A request may give a `concurrency_key` of its own instead.
    """

    field: ClassVar[str] = "concurrency_key"
