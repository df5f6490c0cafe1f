"""What the access log shows: no secrets, at most 50 KB, text only."""

from __future__ import annotations

import time

import pytest

from taskmill import constants as c
from taskmill.api import redact

KEY = "tmk_" + "A" * 43


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b'{"kind":"a.b","n":1}', '{"kind":"a.b","n":1}'),
        (b'{"password":"hunter2"}', '{"password":"***"}'),
        (b'{"Api-Key":"x","n":1}', '{"Api-Key":"***","n":1}'),
        (b'{"args":{"headers":[{"Authorization":"Basic abc"}]}}', '{"args":{"headers":[{"Authorization":"***"}]}}'),
        (b'{"client_secret":{"a":["b"]}}', '{"client_secret":"***"}'),
        (b'{"pass\\u0077ord":"hunter2"}', '{"password":"***"}'),
        (b'{"note":"use Bearer abc.def please"}', '{"note":"use Bearer *** please"}'),
        (b'{"note":"%s"}' % KEY.encode(), '{"note":"tmk_***"}'),
        (b"token=abc&x=1", "token=***&x=1"),
        (b'{"u":"https://user:p@ss@h/x?access_token=abc&y=1"}', '{"u":"https://***@h/x?access_token=***&y=1"}'),
        (b'{"u":"postgresql://a:b@h/db"}', '{"u":"postgresql://***@h/db"}'),
        (b'{"u":"host=h password=hunter2 user=y"}', '{"u":"host=h password=*** user=y"}'),
        (b'{"h":[{"name":"X-Api-Key","value":"x"}]}', '{"h":[{"name":"X-Api-Key","value":"***"}]}'),
        (rb'{"u":"https:\/\/user:pass@h/x"}', '{"u":"https://***@h/x"}'),
        (b'{"mail": "a@b.c"}', '{"mail": "a@b.c"}'),
        (b'{"mail":"a@b.c","u":"https://b.c/@x"}', '{"mail":"a@b.c","u":"https://b.c/@x"}'),
        ("你好".encode(), "你好"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"a\x00b", "<binary>"),
    ],
)
def test_whole_bodies(raw: bytes, shown: str) -> None:
    assert redact.body(raw, truncated=False) == shown


@pytest.mark.parametrize(
    "raw",
    [
        b'{"password":"hunter2',
        b'{"password":"hunter2\\',
        b'{"password" : "hunter2","x":',
        b'{"x":1,"db_password":["hunter2"',
        b'{"token":{"a":"hunter2"',
        b'{"token":hunter2',
        b'{"a":"tmk_hunter2hunter2',
    ],
)
def test_truncated_and_broken_bodies_hide_secrets_too(raw: bytes) -> None:
    for truncated in (True, False):
        shown = redact.body(raw, truncated=truncated)
        assert "hunter2" not in shown
        assert shown.endswith(c.TRUNCATED) is truncated


def test_deep_bodies_do_not_break_it() -> None:
    raw = b'{"token":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    assert "[[[" not in redact.body(raw, truncated=False)


@pytest.mark.parametrize(
    "raw",
    [
        b'"token',
        b"token",
        b"&token",
        b"token=",
        b"bearer ",
        b'"token":"\\"',
        b'\\"',
        b'"token" ',
        b'{"token":[',
        b"\\u0022",
        b"=a",
        b"://",
        b"://@",
        b"pin=",
        b"'=",
    ],
)
def test_the_time_grows_with_the_length_and_no_faster(raw: bytes) -> None:
    def cost(size: int) -> float:
        body = (b'"' + raw * size)[:size]
        started = time.thread_time()
        redact.body(body, truncated=True)
        return time.thread_time() - started

    short, long = min(cost(4_000) for _ in range(5)), min(cost(64_000) for _ in range(5))
    assert long < short * 100 + 0.05  # 平方增长会是 256 倍


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"", ""),
        (b"page=1", "page=1"),
        (b"api_key=x&page=1", "api_key=***&page=1"),
        (b"a=1&access_token=x", "a=1&access_token=***"),
        (b"to=https%3A%2F%2Fu%3Apw%40h%2F%3Ftoken%3Dabc", "to=https://***@h/?token=***"),
        (b"p%61ss=1", "p%61ss=***"),
        (b"q=" + KEY.encode(), "q=tmk_***"),
    ],
)
def test_queries(raw: bytes, shown: str) -> None:
    assert redact.query(raw) == shown


@pytest.mark.parametrize(
    ("kind", "logged"),
    [
        ("", True),
        ("application/json", True),
        ("application/vnd.oai.openapi+json", True),
        ("text/plain; version=0.0.4", True),
        ("text/event-stream", False),
        ("image/png", False),
        ("application/octet-stream", False),
        ("text/javascript", False),
    ],
)
def test_only_text_is_logged(kind: str, logged: bool) -> None:
    assert redact.is_text(kind) is logged


@pytest.mark.parametrize(
    "name",
    [
        "pass",
        "pwd",
        "dbPass",
        "user_pin",
        "PIN",
        "otp",
        "jwt",
        "access_key",
        "accessKey",
        "signing_key",
        "session_id",
        "dsn",
        "auth",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert redact.is_secret(name)


@pytest.mark.parametrize(
    "name", ["shipping", "compass", "author", "option", "spinning", "opinion", "passenger", "kind", "task_key"]
)
def test_names_that_only_look_alike(name: str) -> None:
    assert not redact.is_secret(name)


def test_long_fields_are_cut_and_masked() -> None:
    for shown in (
        redact.path(KEY + "/" + "x" * 5_000),
        redact.field("Bearer abc " + "x" * 5_000),
        redact.query(b"token=abc&" + b"x" * 5_000),
    ):
        assert shown is not None and shown.endswith(c.TRUNCATED) and "***" in shown
        assert len(shown) == c.LOG_FIELD_MAX_CHARS + len(c.TRUNCATED)
