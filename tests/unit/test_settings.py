"""Settings: what nobody knows or what contradicts itself is refused at the start, with words that name the way out."""

from __future__ import annotations

import os

import pytest

from taskmill import constants as c
from taskmill.errors import Code, SetupError
from taskmill.secret import Secret
from taskmill.settings import load_settings


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches these tests."""
    for name in [name for name in os.environ if name.startswith("TASKMILL_")]:
        monkeypatch.delenv(name)


def refused(monkeypatch: pytest.MonkeyPatch, **variables: str) -> SetupError:
    """Set variables and return the refusal."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SetupError) as raised:
        load_settings()
    assert raised.value.code is Code.CONFIG_INVALID
    return raised.value


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        # 心跳默认五秒：只改租约也要被看出来
        ({"TASKMILL_LEASE_S": "3"}, ("TASKMILL_HEARTBEAT_S", "TASKMILL_LEASE_S", "at most 1")),
        ({"TASKMILL_HEARTBEAT_S": "6.7"}, ("TASKMILL_HEARTBEAT_S", "TASKMILL_LEASE_S", "6.667")),
        (
            {"TASKMILL_POOL_SIZE": "20", "TASKMILL_ORM_POOL_SIZE": "6"},
            ("TASKMILL_POOL_SIZE", "TASKMILL_ORM_POOL_SIZE", "26"),
        ),
        ({"TASKMILL_ARGS_MAX_BYTES": "9000000"}, ("TASKMILL_ARGS_MAX_BYTES", "TASKMILL_BODY_MAX_BYTES")),
        ({"TASKMILL_BATCH_BODY_MAX_BYTES": "2048"}, ("TASKMILL_BODY_MAX_BYTES", "TASKMILL_BATCH_BODY_MAX_BYTES")),
        ({"TASKMILL_API_HEADS_MAX_BYTES": "65535"}, ("TASKMILL_API_HEADER_MAX_BYTES", "TASKMILL_API_HEADS_MAX_BYTES")),
        ({"TASKMILL_PLUGINS_ALLOW": "http,shell", "TASKMILL_PLUGINS_DENY": "shell"}, ("TASKMILL_PLUGINS_DENY", "shell")),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: tuple[str, ...]
) -> None:
    told = refused(monkeypatch, **variables).message()
    for word in named:
        assert word in told["en"]
    assert not any("一" <= char <= "鿿" for char in told["en"])


@pytest.mark.parametrize(
    "variables",
    [
        {"TASKMILL_LEASE_S": "15"},
        {"TASKMILL_LEASE_S": "1", "TASKMILL_HEARTBEAT_S": "0.3333"},
        {"TASKMILL_POOL_SIZE": "20", "TASKMILL_ORM_POOL_SIZE": "5"},
        {"TASKMILL_BODY_MAX_BYTES": str(c.BATCH_BODY_MAX_BYTES)},
        {"TASKMILL_API_HEADS_MAX_BYTES": str(c.HTTP_HEADER_MAX_BYTES)},
    ],
)
def test_settings_at_the_edge_are_taken(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    load_settings()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TASKMILL_CONCURENCY", "did you mean TASKMILL_CONCURRENCY?"),
        ("TASKMILL_DATABSE_URL", "did you mean TASKMILL_DATABASE_URL?"),
        ("taskmill_lease", "did you mean TASKMILL_LEASE_S?"),
        ("TASKMILL_API_KEY", "no such setting"),
        ("TASKMILL_SOMETHING_ELSE", "no such setting"),
    ],
)
def test_a_setting_that_nobody_knows_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, meant: str) -> None:
    error = refused(monkeypatch, **{name: "7"})
    assert error.details["field"] == name
    assert meant in error.message()["en"]


@pytest.mark.parametrize(
    "name",
    [
        "TASKMILL_TEST_PG_BIN",
        "TASKMILL_PLUGIN_HTTP_TIMEOUT",
        "TASKMILL_API_URL",
        "TASKMILL_API_TOKEN",
        "TASKMILL_POD_NAMESPACE",
    ],
)
def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    load_settings()


# 名为 taskmill、taskmill-api、taskmill-worker-health 的 Service 在同一命名空间里注入的变量
LINKS = {
    f"{service}{suffix}": value
    for service in ("TASKMILL", "TASKMILL_API", "TASKMILL_WORKER_HEALTH", "TASKMILL_OPERATOR_HEALTH")
    for suffix, value in {
        "_SERVICE_HOST": "10.0.0.1",
        "_SERVICE_PORT": "8800",
        "_SERVICE_PORT_HTTP": "8800",
        "_PORT": "tcp://10.0.0.1:8800",
        "_PORT_8800_TCP": "tcp://10.0.0.1:8800",
        "_PORT_8800_TCP_PROTO": "tcp",
        "_PORT_8800_TCP_PORT": "8800",
        "_PORT_8800_TCP_ADDR": "10.0.0.1",
    }.items()
}


def test_the_variables_of_services_stop_no_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LINKS.items():
        monkeypatch.setenv(name, value)
    found = load_settings()
    assert (found.api_port, found.worker_health_port, found.operator_health_port) == (c.API_PORT, 0, c.OPERATOR_HEALTH_PORT)
    assert "api_port" not in found.model_fields_set
    monkeypatch.setenv("TASKMILL_API_PORT", "9000")
    assert load_settings().api_port == 9000


@pytest.mark.parametrize(
    ("name", "value", "zh"),
    [
        ("TASKMILL_API_PORT", "x", "须是整数"),
        ("TASKMILL_API_PORT", "65536", "须不大于 65535"),
        ("TASKMILL_API_PORT", "1.5", "须是整数"),
        ("TASKMILL_POOL_SIZE", "1", "须不小于 2"),
        ("TASKMILL_HEARTBEAT_S", "0", "须大于 0"),
        ("TASKMILL_LEASE_S", "soon", "须是数字"),
        ("TASKMILL_LEASE_S", "inf", "须是有限的数"),
        ("TASKMILL_METRICS_PUBLIC", "maybe", "须是 true 或 false"),
        ("TASKMILL_LOG_LEVEL", "LOUD", "须是其中之一"),
    ],
)
def test_a_wrong_value_is_told_in_both_languages(monkeypatch: pytest.MonkeyPatch, name: str, value: str, zh: str) -> None:
    told = refused(monkeypatch, **{name: value}).message()
    assert name in told["zh"]
    assert zh in told["zh"]
    assert "Input" not in told["zh"]
    assert not any("一" <= char <= "鿿" for char in told["en"])


def test_settings_hide_their_secrets_as_plugins_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKMILL_DATABASE_URL", "postgresql://u:geheim@h/d")
    found = load_settings()
    assert isinstance(found.database_url, Secret)
    assert "geheim" not in f"{found} {found!r} {found.model_dump_json()}"
    assert found.database_url.reveal() == found.database_url.get_secret_value() == "postgresql://u:geheim@h/d"
