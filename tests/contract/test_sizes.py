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
        ("platform/taskmill/long.py", "\n" * 401, "401 lines, at most 400"),
        ("plugins/x/long.py", "\n" * 401, "401 lines, at most 400"),
        ("tests/unit/test_long.py", "\n" * 501, "501 lines, at most 500"),
        ("Makefile", "\n" * 81, "81 lines"),
        ("plugins/x/long.py", "def f():\n" + "    pass\n" * 40, "f has 41 lines"),
    ],
)
def test_an_excess_is_named(name: str, text: str, words: str) -> None:
    assert any(words in line for line in size_cap.problems_of(name, text))


@pytest.mark.parametrize(("count", "named"), [(20, False), (21, True)])
def test_a_crowded_folder_of_the_package_is_named(count: int, named: bool) -> None:
    files = [f"platform/taskmill/x/f{number}.py" for number in range(count)]
    others = [*(f"platform/taskmill/x/y/f{number}.py" for number in range(20)), "platform/taskmill/x/page.html"]
    others += [f"tests/unit/test_{number}.py" for number in range(30)]
    assert list(size_cap.crowded([*files, *others])) == (
        ["platform/taskmill/x: 21 Python files, at most 20"] if named else []
    )


def test_a_docstring_does_not_count() -> None:
    text = 'def f():\n    """First\n' + "    more\n" * 10 + '    """\n' + "    pass\n" * 39
    assert list(size_cap.problems_of("platform/taskmill/documented.py", text)) == []


def test_platform_does_not_hide_the_module_of_python() -> None:
    import platform

    assert platform.python_implementation()
