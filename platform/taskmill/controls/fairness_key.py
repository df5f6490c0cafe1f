"""Fairness keys: with whom a task takes turns in its queue and priority."""

from __future__ import annotations

from typing import ClassVar

from taskmill.controls.key_template import KeyTemplate


class Fairness(KeyTemplate, frozen=True, kw_only=True):
    """Where the fairness key of a kind's tasks comes from: a text in which `{tenant}` stands for an arg.

    Example: `Fairness(key="{tenant}")`. A request may give a `fairness_key` of its own instead.
    """

    field: ClassVar[str] = "fairness_key"
