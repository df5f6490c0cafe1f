"""Every reason for which a task waits is documented."""

from __future__ import annotations

from pathlib import Path

from taskmill.services.tasks.waiting import WaitCode

STATES = Path(__file__).parents[4] / "docs" / "concepts" / "states.md"


def test_the_page_of_states_explains_every_code() -> None:
    page = STATES.read_text(encoding="utf-8")
    assert [code for code in WaitCode if f"| `{code}` |" not in page] == []
