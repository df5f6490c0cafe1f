"""The size cap and the trap of `platform/` hold for the whole checkout, and the cap can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import size_cap

ROOT = Path(__file__).parents[2]


def test_every_file_and_function_is_within_its_cap() -> None:
    assert list(size_cap.problems(ROOT)) == []


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("platform/taskmill/long.py", "\n" * 501, "501 lines"),
        ("Makefile", "\n" * 81, "81 lines"),
        ("plugins/x/long.py", "def f():\n" + "    pass\n" * 40, "f has 41 lines"),
    ],
)
def test_an_excess_is_named(name: str, text: str, words: str) -> None:
    assert any(words in line for line in size_cap.problems_of(name, text))


def test_a_docstring_does_not_count() -> None:
    text = 'def f():\n    """First\n' + "    more\n" * 10 + '    """\n' + "    pass\n" * 39
    assert list(size_cap.problems_of("platform/taskmill/documented.py", text)) == []


def test_platform_does_not_hide_the_module_of_python() -> None:
    import platform

    assert platform.python_implementation()
