"""Database URLs: one for each driver, and never a word of a password in an error."""

from __future__ import annotations

import traceback
from urllib.parse import quote

import pytest

from taskmill.errors import Code, SetupError
from taskmill.settings import load_settings
from taskmill.stores.urls import asyncpg_url, masked, sqlalchemy_url

# 密码没有编码：/ ? # 之前的部分被当成端口
RAW = ["postgresql://bob:hun/ter2@db:5432/app", "postgresql://bob:hun?ter2@db/app", "postgresql://bob:hun#ter2@db/app"]
RAW.append("postgresql://bob:hun\u2100ter2@db/app")  # 规范化后会变成 a/c：urlsplit 的报错带着整段


def test_one_url_for_each_driver() -> None:
    url = "postgres://bob:hun%2Fter2@db:5432/app?sslmode=require"
    assert asyncpg_url(url) == "postgresql://bob:hun%2Fter2@db:5432/app?sslmode=require"
    dsn = quote("postgresql://db:5432/app?sslmode=require", safe="")
    assert sqlalchemy_url(url) == f"postgresql+asyncpg://bob:hun%2Fter2@db:5432/app?dsn={dsn}"
    assert sqlalchemy_url("postgres://bob@db/app") == "postgresql+asyncpg://bob@db/app"
    assert masked(url) == "postgres://bob:***@db:5432/app?sslmode=require"


@pytest.mark.parametrize("url", RAW)
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
