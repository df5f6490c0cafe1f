"""Where the command line finds the API and its key."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import rich_click as click

from taskmill import reasons
from taskmill.cli.commands import task
from taskmill.cli.failure import RemoteError, exit_code, named, typed
from taskmill.cli.rest import Api, find_target
from taskmill.cli.run_json import beside_dev
from taskmill.errors import Code, InputError, TaskmillError
from taskmill.secret import Secret
from taskmill.settings import Settings

URL = "http://127.0.0.1:4000"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder in which `taskmill dev` runs."""
    (tmp_path / ".taskmill").mkdir()
    (tmp_path / ".taskmill" / "run.json").write_text(json.dumps({"api_url": URL, "token": "tmk_dev", "schema_url": ""}))
    return tmp_path


@pytest.mark.parametrize(
    ("url", "token", "expected"),
    [
        (None, None, (URL, "tmk_dev")),
        (None, "mine", (URL, "mine")),
        ("https://api.example.org/", "mine", ("https://api.example.org", "mine")),
        # 令牌绝不送给别的地址
        ("https://api.example.org", None, ("https://api.example.org", None)),
    ],
)
def test_run_json_is_found_upwards(
    project: Path, url: str | None, token: str | None, expected: tuple[str, str | None]
) -> None:
    below = project / "a" / "b"
    below.mkdir(parents=True)
    found = find_target(url, token, below)
    assert (found.url, found.token) == expected


def test_without_run_json_it_is_the_default_port(tmp_path: Path) -> None:
    assert find_target(None, None, tmp_path).url == "http://127.0.0.1:8800"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else_is_not_trusted(project: Path) -> None:
    os.chown(project / ".taskmill" / "run.json", 65_534, 65_534)
    assert find_target(None, None, project).url != URL


def test_a_broken_file_is_named(project: Path) -> None:
    (project / ".taskmill" / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json"):
        find_target(None, None, project)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "TASK_NOT_FOUND", 3),
        (409, "TASK_NOT_RETRYABLE", 4),
        (422, "ARGS_INVALID", 2),
        (503, "DATABASE_UNAVAILABLE", 5),
        (404, "OF_THE_FUTURE", 3),
        (403, "OF_THE_FUTURE", 4),
        (418, "OF_THE_FUTURE", 2),
        (500, "OF_THE_FUTURE", 1),
    ],
)
def test_exit_codes_of_answers(status: int, code: str, expected: int) -> None:
    assert exit_code(RemoteError(status, {"code": code, "message": {"zh": "坏", "en": "bad"}})) == expected


REFUSED = {
    "code": "INVALID_REQUEST",
    "message": {"zh": "请求不合规", "en": "the request is invalid: delay_s"},
    "hint": {"zh": "/schema", "en": "/schema"},
    "details": {
        "field": "delay_s",
        "reason": "give run_at or delay_s, not both",
        "reason_zh": "run_at 与 delay_s 只能给一个",
    },
}


def test_errors_of_the_api_speak_of_the_options_that_were_typed() -> None:
    with pytest.raises(TaskmillError) as raised, named({"delay_s": "--in", "run_at": "--at"}):
        raise RemoteError(422, REFUSED)
    message = raised.value.message()
    assert message["en"].endswith("--in: give --at or --in, not both")
    assert message["zh"].endswith("--in：--at 与 --in 只能给一个")
    assert exit_code(raised.value) == 2


def test_a_field_with_an_option_of_its_own_is_told_by_that_one() -> None:
    refused = {**REFUSED, "details": {**REFUSED["details"], "field": "unique.by[0]"}}  # type: ignore[dict-item]
    with pytest.raises(TaskmillError) as raised, named({"unique": "--unique", "unique.by": "--unique-by"}):
        raise RemoteError(422, refused)
    assert "--unique-by[0]: give" in raised.value.message()["en"]


@pytest.mark.parametrize(
    ("command", "field", "option"),
    [
        (task.list_tasks, "state", "--state"),
        (task.list_tasks, "page", "--page"),
        (task.show, "task_id", "ID"),
        (task.cancel, "task_id", "ID"),
        (task.submit, "kind", "KIND"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_each_command_knows_what_was_typed_for_a_field(command: click.Command, field: str, option: str) -> None:
    with click.Context(command):
        assert typed()[field] == option


def test_what_a_service_refuses_is_told_in_the_words_of_the_command() -> None:
    with pytest.raises(InputError) as raised, named({"expires_at": "--expires-in"}):
        raise InputError(Code.INVALID_REQUEST, field="expires_at", reason=reasons.IN_FUTURE)
    assert "--expires-in" in raised.value.message()["en"]
    assert "--expires-in" in raised.value.message()["zh"]


@pytest.mark.parametrize("details", [{"field": "elsewhere"}, {}, {"field": 7}])
def test_other_errors_of_the_api_stay_as_they_are(details: dict[str, object]) -> None:
    with pytest.raises(RemoteError), named({"delay_s": "--in"}):
        raise RemoteError(422, {**REFUSED, "details": details})


@pytest.mark.parametrize(
    ("variable", "told"), [("TASKMILL_API_KEY", "nobody reads TASKMILL_API_KEY"), ("LANG", "give a key by")]
)
def test_a_refused_key_is_told_in_the_words_of_the_api_and_the_hint_of_the_command(
    monkeypatch: pytest.MonkeyPatch, variable: str, told: str
) -> None:
    """Whoever types a command sends no headers; many guess the name of the variable."""
    monkeypatch.setenv(variable, "tmk_x")
    words = {"zh": "需要有效的密钥", "en": "a valid key is needed"}
    error = RemoteError(
        401, {"code": "UNAUTHORIZED", "message": words, "hint": {"zh": "请求头", "en": "send Authorization"}}
    )
    assert error.message() == words
    hint = error.hint()
    assert hint is not None
    assert hint["en"].startswith(told)
    assert all("TASKMILL_API_TOKEN" in text for text in hint.values())


def test_fields_of_args_are_not_taken_for_options() -> None:
    refused = {**REFUSED, "details": {"field": "args", "reason": "no field x; there are: timeout_s"}}
    with (
        pytest.raises(TaskmillError, match="--args: no field x; there are: timeout_s"),
        named({"args": "--args", "timeout_s": "--timeout"}),
    ):
        raise RemoteError(422, refused)


def test_a_place_inside_of_an_option_is_kept() -> None:
    refused = {**REFUSED, "details": {"field": "tags[3]", "reason": "no"}}
    with pytest.raises(TaskmillError, match=r"--tag\[3\]: no"), named({"tags": "--tag"}):
        raise RemoteError(422, refused)


def test_a_running_dev_is_found_by_the_commands_on_its_servers(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project / ".taskmill" / "run.json"
    facts = {
        "api_url": URL,
        "token": "t",
        "pid": os.getpid(),
        "database_url": "postgresql://u:pw@h/d",
        "broker_url": "redis://h",
    }
    path.write_text(json.dumps(facts))
    monkeypatch.chdir(project)
    found = beside_dev(Settings())
    assert (found.require_database_url(), found.require_broker_url()) == ("postgresql://u:pw@h/d", "redis://h")
    told = capsys.readouterr().err
    assert str(path) in told
    assert "pw" not in told.replace(str(path), "")
    # 自己说了地址就用自己的；进程不在了，文件就过期了
    given = Settings(database_url=Secret("postgresql://mine/d"))
    assert beside_dev(given) == given
    path.write_text(json.dumps({**facts, "pid": 2**22 + 1}))
    assert beside_dev(Settings()).database_url is None
    assert beside_dev(Settings(), role=True).database_url is None


@pytest.mark.parametrize("given", [{"database_url": Secret("postgresql://mine/d")}, {"broker_url": Secret("redis://mine")}])
def test_a_role_takes_both_servers_of_a_running_dev_or_neither(
    project: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Secret]
) -> None:
    facts = {"api_url": URL, "token": "t", "pid": os.getpid(), "database_url": "postgresql://h/d", "broker_url": "redis://h"}
    (project / ".taskmill" / "run.json").write_text(json.dumps(facts))
    monkeypatch.chdir(project)
    found = beside_dev(Settings(), role=True)
    assert (found.require_database_url(), found.require_broker_url()) == ("postgresql://h/d", "redis://h")
    half = Settings.model_validate(given)
    assert beside_dev(half, role=True) == half


def test_an_api_that_moved_is_found_again(project: Path) -> None:
    api = Api(find_target(None, None, project), lambda: find_target(None, None, project))
    assert not api.moved()
    facts = {"api_url": "http://127.0.0.1:4001", "token": "other", "schema_url": ""}
    (project / ".taskmill" / "run.json").write_text(json.dumps(facts))
    assert api.moved()
    api.find_again()
    assert (api.url, api.moved()) == ("http://127.0.0.1:4001", False)


def test_an_api_whose_run_json_is_gone_is_not_looked_for_on_the_usual_port(project: Path) -> None:
    """Another one may answer there while `taskmill dev` starts again."""
    api = Api(find_target(None, None, project), lambda: find_target(None, None, project))
    path, here = project / ".taskmill" / "run.json", api.url
    told = path.read_text()
    path.unlink()
    api.find_again()
    assert (api.url, api.moved()) == (here, False)
    path.write_text(told.replace(URL, "http://127.0.0.1:4001"))
    api.find_again()
    assert api.url == "http://127.0.0.1:4001"
