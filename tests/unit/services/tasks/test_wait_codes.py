"""Every reason for which a task waits is documented."""

from __future__ import annotations

from pathlib import Path

from taskmill.cli.main import root
from taskmill.cli.reference_pages import walk
from taskmill.services.tasks.explain import fate, reasons
from taskmill.services.tasks.explain.fate import FateCode
from taskmill.services.tasks.explain.reasons import WaitCode

STATES = Path(__file__).parents[4] / "docs" / "concepts" / "states.md"


def test_the_page_of_states_explains_every_code() -> None:
    page = STATES.read_text(encoding="utf-8")
    assert [code for code in (*WaitCode, *FateCode) if f"| `{code}` |" not in page] == []


def test_every_code_has_words_and_its_next_steps_are_commands_that_exist() -> None:
    assert set(reasons.WORDS) == set(WaitCode)
    assert set(fate.WORDS) == set(FateCode)
    known = {path for path, _ in walk(root)}
    for steps in (*reasons.NEXT.values(), *fate.NEXT.values()):
        assert [step for step in steps if not any(step.startswith(path) for path in known - {"taskmill"})] == []
