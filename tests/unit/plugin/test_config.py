"""Variables become typed configuration; whatever is wrong is named, and secrets stay hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from taskmill.errors import SetupError
from taskmill.plugin.config import Secret, load_config, masked

P = "TASKMILL_PLUGIN_DEMO_"


class Demo(msgspec.Struct, kw_only=True):
    token: Secret = Secret("")
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 25
    ratio: float = 0.5
    on: bool = False
    hosts: list[str] = []
    ports: frozenset[int] | None = None
    secrets: dict[str, Secret] = {}
    mode: Literal["none", "tls"] = "none"
    root: Path = Path("/")
    low: int = 0

    def __post_init__(self) -> None:
        if self.low > self.port:
            message = "low must not exceed port"
            raise ValueError(message)


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("TOKEN", "abc", Secret("abc")),
        ("PORT", "587", 587),
        ("RATIO", "0.25", 0.25),
        ("ON", "true", True),
        ("ON", "0", False),
        ("HOSTS", "a.example, b.example,", ["a.example", "b.example"]),
        ("HOSTS", "", []),
        ("HOSTS", '["a,b"]', ["a,b"]),
        ("PORTS", "80,443", frozenset({80, 443})),
        ("SECRETS", '{"A": "x"}', {"A": Secret("x")}),
        ("MODE", "tls", "tls"),
        ("ROOT", "/srv", Path("/srv")),
    ],
)
def test_typed(variable: str, text: str, expected: Any) -> None:
    config = load_config("demo", Demo, {P + variable: text, "OTHER": "x"})
    assert getattr(config, variable.lower()) == expected


@pytest.mark.parametrize(
    ("env", "field", "words"),
    [
        ({"PORT": "many"}, "PORT", "int"),
        ({"PORT": "0"}, "PORT", ">= 1"),
        ({"MODE": "ssl"}, "MODE", "ssl"),
        ({"SECRETS": "{"}, "SECRETS", "truncated"),
        ({"HOST": "1"}, "HOST", f"did you mean {P}HOSTS?"),
        ({"XYZ": "1"}, "XYZ", "known are: TOKEN"),
        ({"LOW": "99", "PORT": "5"}, "*", "low must not exceed port"),
    ],
)
def test_refused(env: dict[str, str], field: str, words: str) -> None:
    with pytest.raises(SetupError) as caught:
        load_config("demo", Demo, {P + name: text for name, text in env.items()})
    assert caught.value.details["field"] == P + field
    assert words in caught.value.details["reason"].en


class Needs(msgspec.Struct):
    url: str


def test_required_is_named() -> None:
    with pytest.raises(SetupError) as caught:
        load_config("demo", Needs, {})
    assert caught.value.details["field"] == P + "URL"


def test_without_config_every_variable_is_unknown() -> None:
    assert load_config("demo", None, {}) is None
    with pytest.raises(SetupError):
        load_config("demo", None, {P + "A": "1"})


def test_variables_of_a_plugin_with_a_longer_name_are_left_alone() -> None:
    env = {P + "PORT": "26", "TASKMILL_PLUGIN_DEMO_PROXY_URL": "x"}
    assert load_config("demo", Demo, env, {"demo", "demo-proxy"}).port == 26
    assert load_config("demo-proxy", Needs, env, {"demo", "demo-proxy"}).url == "x"


def test_secret_never_shows_itself() -> None:
    config = load_config("demo", Demo, {P + "TOKEN": "geheim", P + "SECRETS": '{"A": "geheim"}'})
    assert "geheim" not in f"{config} {config!r} {config.token} {config.secrets}"
    shown = masked(config)
    assert (shown["token"], shown["secrets"]) == ("***", {"A": "***"})
    assert "geheim" not in str(shown)
    assert config.token.reveal() == "geheim"
    assert masked(None) == {}
