"""The demo works beside what a person has set."""

from __future__ import annotations

import json

import pytest

from taskmill.dev.demo import SHELL_ALLOW, with_own


@pytest.mark.parametrize(
    ("name", "theirs", "expected"),
    [
        (SHELL_ALLOW, None, "/a,/b"),
        (SHELL_ALLOW, "/bin/sleep", "/bin/sleep,/a,/b"),
        (SHELL_ALLOW, '["/bin/sleep"]', json.dumps(["/bin/sleep", "/a", "/b"])),
        (SHELL_ALLOW, "[]", json.dumps(["/a", "/b"])),
        ("TASKMILL_PLUGIN_EMAIL_HOST", "mail.example.org", "mail.example.org"),
        ("TASKMILL_PLUGIN_EMAIL_HOST", None, "/a,/b"),
    ],
)
def test_the_demo_s_commands_run_beside_those_that_a_person_allows(name: str, theirs: str | None, expected: str) -> None:
    assert with_own(name, "/a,/b", theirs) == expected
