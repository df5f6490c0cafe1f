"""What pages are made of, as pure functions: tracebacks, timelines, lengths of time, phrases, files."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmill.dashboard import phrases, rendering
from taskmill.dashboard.assets import Assets
from taskmill.dashboard.timeline import steps
from taskmill.dashboard.traceback_view import parts
from taskmill.services.tasks.view import TaskAttemptView, TaskDetail
from taskmill.states import Cause, State

ROOT = Path(rendering.__file__).parent
TRACE = """Traceback (most recent call last):
  File "/app/shop/tasks.py", line 3, in pay
    charge(order)
    ~~~~~~^^^^^^^
  File "/usr/lib/python3/site-packages/requests/api.py", line 59, in post
    return request("post", url)
  File "/usr/lib/python3/site-packages/requests/api.py", line 14, in request
    return session.request()
  File "/app/shop/bank.py", line 9, in answer
    raise ValueError("no")
ValueError: no
  with an indented line
"""


def test_frames_of_libraries_are_folded() -> None:
    found = parts(TRACE)
    assert [(part.folded, part.frames) for part in found] == [(False, 0), (True, 2), (False, 0)]
    assert "\n".join(part.text for part in found) == TRACE.rstrip("\n")
    assert "charge(order)" in found[0].text
    assert found[1].text.count("File") == 2


@given(st.text())
def test_no_line_of_a_traceback_is_lost(text: str) -> None:
    assert "\n".join(part.text for part in parts(text)) == "\n".join(text.splitlines())


def _task(state: State, **fields: Any) -> TaskDetail:
    names: dict[str, Any] = dict.fromkeys(TaskDetail.__struct_fields__)
    return TaskDetail(**{**names, "state": state, "created_at": "2026-01-01T00:00:00.000Z", "run_at": "2026-01-01T00:00:01.000Z", "claim_no": 1, "attempt": 1, "waiting": [], **fields})  # fmt: skip


def _failed(claim_no: int, start: str | None, end: str) -> TaskAttemptView:
    return TaskAttemptView(
        claim_no=claim_no, attempt=claim_no, cause=Cause.ERROR, error_type="E", message="m", message_zh=None,
        traceback=None, fingerprint=None, worker_id=UUID(int=1), started_at=start, finished_at=end,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("task", "attempts", "told"),
    [
        (_task(State.AVAILABLE, claim_no=0), [], ["step_created", "step_due"]),
        (_task(State.RUNNING, started_at="2026-01-01T00:00:02.000Z"), [], ["step_created", "step_running"]),
        (
            _task(
                State.COMPLETED, claim_no=2, started_at="2026-01-01T00:00:05.000Z", finished_at="2026-01-01T00:00:07.000Z"
            ),
            [_failed(1, "2026-01-01T00:00:02.000Z", "2026-01-01T00:00:03.000Z")],
            ["step_created", "step_attempt", "step_ran", "step_completed"],
        ),
        (
            _task(State.DISCARDED, finished_at="2026-01-01T00:00:03.000Z", started_at="2026-01-01T00:00:02.000Z"),
            [_failed(1, None, "2026-01-01T00:00:03.000Z")],
            ["step_created", "step_attempt", "step_discarded"],
        ),
        (_task(State.CANCELLED, claim_no=0, finished_at="2026-01-01T00:00:03.000Z"), [], ["step_created", "step_cancelled"]),
    ],
)
def test_the_steps_of_a_task(task: TaskDetail, attempts: list[TaskAttemptView], told: list[str]) -> None:
    found = steps(task, attempts)
    assert [step.phrase for step in found] == told
    assert all(step.waited is None or step.waited >= 0 for step in found)


def test_a_step_says_how_long_it_waited_and_took() -> None:
    task = _task(State.COMPLETED, claim_no=2, started_at="2026-01-01T00:00:05.000Z", finished_at="2026-01-01T00:00:07.500Z")
    attempt, ran = steps(task, [_failed(1, "2026-01-01T00:00:02.000Z", "2026-01-01T00:00:03.000Z")])[1:3]
    assert (attempt.waited, attempt.lasted, ran.waited, ran.lasted) == (2.0, 1.0, 2.0, 2.5)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (None, "–"),
        (0, "0 ms"),
        (0.9994, "999 ms"),
        (1, "1 s"),
        (59.94, "59.9 s"),
        (60, "1 m"),
        (61.9, "1 m 1 s"),
        (3600, "1 h"),
        (86_400, "1 d"),
        (90_061, "1 d 1 h"),
    ],
)
def test_a_length_of_time(seconds: float | None, told: str) -> None:
    assert rendering.span(seconds) == told


def test_a_moment_keeps_its_text_for_the_script() -> None:
    assert (
        rendering.when("2026-01-01T00:00:00.000Z")
        == '<time datetime="2026-01-01T00:00:00.000Z">2026-01-01 00:00:00 UTC</time>'
    )
    assert "<b>" not in rendering.when("<b>")


def test_json_is_indented_with_all_its_digits_and_without_hidden_characters() -> None:
    shown = rendering.shown_json(msgspec.Raw('{"a":[12345678901234567890.50],"b":"\u202e"}'.encode()))
    assert "12345678901234567890.50" in shown
    assert "\u202e" not in shown
    assert json.loads(shown)["b"] == "\u202e"


def test_each_phrase_of_a_template_is_there_and_each_phrase_is_used() -> None:
    sources = [path.read_text() for path in [*ROOT.rglob("*.html"), *ROOT.rglob("*.py")] if path.name != "phrases.py"]
    text = "\n".join(sources)
    used = set(re.findall(r"""\bt\(['"]([a-z_]+)['"][,)]""", text))
    assert used <= set(phrases.PHRASES), used - set(phrases.PHRASES)
    parts_of = re.findall(r"""\bt\(['"]([a-z]+_)['"] ~""", text)
    for key in phrases.PHRASES:
        named = re.search(rf"""['"]{key}['"]""", text) or key.startswith((*parts_of, "done_", "step_"))
        assert named, f"nobody says {key}"


@pytest.mark.parametrize("words", [*phrases.PHRASES.values(), *phrases.STATES.values()], ids=str)
def test_both_languages_take_the_same_facts(words: Any) -> None:
    assert sorted(re.findall(r"{(\w+)}", words.zh)) == sorted(re.findall(r"{(\w+)}", words.en))


@pytest.mark.parametrize("state", list(State))
def test_each_state_has_a_word_and_a_sign(state: State) -> None:
    assert state.value in phrases.STATES
    assert f'id="{state.value}"' in (ROOT / "static" / "vendor" / "icons.svg").read_text()


def test_each_sign_of_a_template_is_in_the_sprite() -> None:
    sprite = (ROOT / "static" / "vendor" / "icons.svg").read_text()
    text = "\n".join(path.read_text() for path in ROOT.rglob("*.html"))
    for name in set(re.findall(r'icon\(base, asset, "([a-z0-9-]+)"\)', text)) | set(phrases.STATES):
        assert f'<symbol id="{name}"' in sprite, name


def test_vendored_files_are_what_the_lock_says() -> None:
    static = ROOT / "static"
    packages = json.loads((static / "vendor.lock").read_text())["packages"]
    named: dict[str, str] = {}
    for package in packages:
        assert {"name", "version", "registry", "licence", "files"} <= set(package)
        named |= package["files"]
    assert {path.relative_to(static).as_posix() for path in (static / "vendor").iterdir()} == set(named)
    for name, digest in named.items():
        assert hashlib.sha256((static / name).read_bytes()).hexdigest() == digest, name


def test_an_address_changes_with_its_file() -> None:
    assets = Assets.load()
    assert re.fullmatch(r"static/main\.js\?v=[0-9a-f]{12}", assets.address("main.js"))
    assert assets.get("../constants.py") is None
    with pytest.raises(KeyError):
        assets.address("nothing.js")


def test_budgets_of_our_own_files() -> None:
    assert len((ROOT / "static" / "app.css").read_text().splitlines()) < 900
    scripts = sum(len((ROOT / "static" / name).read_text().splitlines()) for name in ("main.js", "live-worker.js"))
    assert scripts < 700
