"""Database URLs: one for each driver, and never a word of a password in an error."""

from __future__ import annotations

import traceback
from urllib.parse import quote

import pytest

from taskmill.errors import Code, SetupError
from taskmill.settings import load_settings
from taskmill.stores.urls import asyncpg_url, sqlalchemy_url
from taskmill.urls import address

# 密码没有编码：/ ? # 之前的部分被当成端口
RAW = ["postgresql://bob:hun/ter2@db:5432/app", "postgresql://bob:hun?ter2@db/app", "postgresql://bob:hun#ter2@db/app"]
RAW += ["postgresql://bob:5432/hunter2@db/app", "postgresql://bob:hun]ter2@[db/app"]
RAW.append("postgresql://bob:hun\u2100ter2@db/app")  # 规范化后会变成 a/c：urlsplit 的报错带着整段


def test_one_url_for_each_driver() -> None:
    url = "postgres://bob:hun%2Fter2@db:5432/app?sslmode=require"
    assert asyncpg_url(url) == "postgresql://bob:hun%2Fter2@db:5432/app?sslmode=require"
    dsn = quote("postgresql://db:5432/app?sslmode=require", safe="")
    assert sqlalchemy_url(url) == f"postgresql+asyncpg://bob:hun%2Fter2@db:5432/app?dsn={dsn}"
    assert sqlalchemy_url("postgres://bob@db/app") == "postgresql+asyncpg://bob@db/app"


@pytest.mark.parametrize("url", [*RAW, "postgresql://bob:hun@ter2@db/app"])
def test_a_password_that_is_not_encoded_is_refused_without_telling_it(url: str) -> None:
    for make in (asyncpg_url, sqlalchemy_url):
        with pytest.raises(ValueError, match="percent-encode") as caught:
            make(url)
        assert "hun" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("url", RAW)
def test_settings_refuse_such_urls_too(url: str) -> None:
    settings = load_settings(database_url=url, broker_url=url.replace("postgresql", "redis"))
    for require, variable in (
        (settings.require_database_url, "TASKMILL_DATABASE_URL"), (settings.require_broker_url, "TASKMILL_BROKER_URL"),
    ):  # fmt: skip
        with pytest.raises(SetupError, match=variable) as caught:
            require()
        assert caught.value.code is Code.CONFIG_INVALID
        assert "hun" not in "".join(traceback.format_exception(caught.value))


NO_SCHEME = ["bob:hunter2@db/app", "//bob:hunter2@db/app", "mysql://bob:hunter2@db/app", "postgresql:bob:hunter2@db/app"]


@pytest.mark.parametrize("url", [*NO_SCHEME, *RAW])
def test_no_log_and_no_error_tells_the_password_of_a_url_without_scheme(url: str) -> None:
    assert "hun" not in address(url)
    settings = load_settings(database_url=url, broker_url=url)
    for require in (settings.require_database_url, settings.require_broker_url):
        with pytest.raises(SetupError) as caught:
            require()
        assert "hun" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://u:p@h1:5432,h2:5433/d?target_session_attrs=read-write", "postgresql://h1:5432,h2:5433/d"),
        ("postgresql://u:p@[::1]:5432/d", "postgresql://[::1]:5432/d"),
        ("redis://:p@h/0", "redis://h/0"),
        ("unix:///tmp/v.sock?password=p", "unix:///tmp/v.sock"),
    ],
)
def test_logs_name_hosts_and_database_only(url: str, told: str) -> None:
    assert address(url) == told


def test_parameters_of_libpq_that_the_driver_has_not_are_left_out() -> None:
    url = "postgresql://u:p@h/d?sslmode=prefer&channel_binding=require&connect_timeout=10&keepalives=1&tcp_user_timeout=9"
    assert asyncpg_url(url) == "postgresql://u:p@h/d?sslmode=prefer"
    assert asyncpg_url("postgresql://u@h/d?connect_timeout=10") == "postgresql://u@h/d"


@pytest.mark.parametrize(
    ("query", "hosts"),
    [
        ("host=a,b", "a,b"),
        ("host=a,b&port=6000", "a:6000,b:6000"),
        ("host=a,2001:db8::1&port=6000,6001", "a:6000,[2001:db8::1]:6001"),
    ],
)
def test_several_hosts_in_the_parameters_are_hosts(query: str, hosts: str) -> None:
    assert asyncpg_url(f"postgresql://u:p@/d?{query}") == f"postgresql://u:p@{hosts}/d"


def test_more_ports_than_hosts_are_refused() -> None:
    with pytest.raises(SetupError) as caught:
        load_settings(database_url="postgresql://u:p@/d?host=a,b&port=1,2,3").require_database_url()
    assert caught.value.code is Code.CONFIG_INVALID


def test_an_account_in_the_parameters_moves_to_where_it_is_masked() -> None:
    url = "postgresql:///d?host=/var/run/postgresql&user=bob&password=a%40b"
    assert asyncpg_url(url) == "postgresql://bob:a%40b@/d?host=%2Fvar%2Frun%2Fpostgresql"
    assert "a%40b" not in sqlalchemy_url(url).partition("@/d")[2]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("require_auth=scram-sha-256", "require_auth"), ("gssencmode=require", "gssencmode"), ("replication=database", "replication"),
        ("sslrootcert=/no/such/file", "/no/such/file"), ("sslmode", "name=value"),
    ],
)  # fmt: skip
def test_parameters_that_cannot_be_kept_are_refused_by_name(query: str, named: str) -> None:
    with pytest.raises(SetupError, match=named) as caught:
        load_settings(database_url=f"postgresql://u:p@h/d?{query}").require_database_url()
    assert caught.value.code is Code.CONFIG_INVALID
