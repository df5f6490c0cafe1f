"""What the access log shows: no secrets, at most 50 KB, text only."""

from __future__ import annotations

import json
import time
from urllib.parse import quote, unquote

import pytest

from taskmill import constants as c
from taskmill.api import constants as ac
from taskmill.api import redact
from tests.support.spellings import HIDDEN, PATHS, QUERIES

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
        (rb'{"u":"http:\u002f\u002Fuser:pass@h/x"}', '{"u":"http://***@h/x"}'),
        (rb'{"u":"http\u003A//user:pass@h/x"}', '{"u":"http://***@h/x"}'),
        (rb'{"u":"http://user:pass\u0040h/x"}', '{"u":"http://***@h/x"}'),
        (b'{"mail": "a@b.c"}', '{"mail": "a@b.c"}'),
        (b'{"mail":"a@b.c","u":"C:/a@b","v":"h:80/@x"}', '{"mail":"a@b.c","u":"C:/a@b","v":"h:80/@x"}'),
        (b'{"mail":"a@b.c","u":"https://b.c/@x"}', '{"mail":"a@b.c","u":"https://b.c/@x"}'),
        (b'{"body":"{\\"password\\": \\"hunter2\\", \\"n\\": 1}"}', '{"body":"{\\"password\\":\\"***\\", \\"n\\": 1}"}'),
        (b'[["{\\"a\\":{\\"token\\":[1]}}"]]', '[["{\\"a\\":{\\"token\\":\\"***\\""]]'),
        (b"payload=%7B%22token%22%3A%22abc%22%7D", 'payload={"token":"***"}'),
        (b'{"note":"they call it \\"token\\", you know"}', '{"note":"they call it \\"token\\", you know"}'),
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


@pytest.mark.parametrize(
    "secret",
    [
        r"http://user:hunter2@h",
        r"http:\/\/user:hunter2@h",
        r"http:\u002f\u002Fuser:hunter2@h",
        r"http\u003a//user:hunter2@h",
        r"http\u003A\/\u002fuser:hunter2\u0040h",
        r"http:\\\/\\\/user:hunter2@h",
        r"postgres:\/\/user:hunter2@a,user:hunter2@h",
        r"\u0074mk_hunter2hunter2",
        r"\u0042earer hunter2",
        r"x?t\u006fken=hunter2",
        r"host=h pass\u0077ord\u003dhunter2",
    ],
)
@pytest.mark.parametrize("end", [b'","x":', b'"', b""], ids=["more", "a whole string", "cut"])
def test_a_cut_body_hides_secrets_however_they_are_escaped(secret: str, end: bytes) -> None:
    raw = b'{"mail":"a@b.c","u":"see ' + secret.encode() + end
    for before in (b"", "\u4f60\u597d".encode(), rb"\ud83d\ude00 \q \n"):
        shown = redact.body(raw.replace(b"see", b"see" + before), truncated=True)
        assert "hunter2" not in shown
        assert c.SECRET_MASK in shown
        assert shown.startswith('{"mail":"a@b.c","u":"see')


@pytest.mark.parametrize("scheme", [r"http://", r"http:\/\/", r"http:\u002f\u002f", r"http\u003a//"])
@pytest.mark.parametrize("rest", ["user:hunter2", r"user:hunter2\u00", ":hunter2\\"])
def test_a_password_is_hidden_even_if_the_body_is_cut_before_its_end(scheme: str, rest: str) -> None:
    for start in (f'{{"u":"{scheme}', f'{{"mail":"a@b.c","u":"{scheme}', *([] if "u0" in scheme else [scheme])):
        shown = redact.body((start + rest).encode(), truncated=True)
        assert "hunter2" not in shown
        assert c.SECRET_MASK in shown


@pytest.mark.parametrize(
    "raw",
    [
        rb'{"u":"a\/b \u00e9 \"x\" \ud83d\ude00 \q","mail":"a@b.c"',
        rb'{"u":"https:\/\/h\/x?a=1","mail":"a@b.c"',
        rb'{"u":"https://h:8000/x","mail":"a@b.c"',
    ],
)
def test_what_is_escaped_but_no_secret_stays_as_it_was_written(raw: bytes) -> None:
    assert redact.body(raw, truncated=True) == raw.decode() + c.TRUNCATED


@pytest.mark.parametrize("depth", range(ac.NESTED_JSON_MAX + 3))
def test_json_in_a_text_in_json_hides_secrets_at_any_depth(depth: int) -> None:
    raw = {"password": "hunter2", "n": 1}
    for _ in range(depth):
        raw = {"body": json.dumps(raw)}
    whole = json.dumps(raw).encode()
    for shown in (redact.body(whole, truncated=False), redact.body(whole[:-1], truncated=True)):
        assert "hunter2" not in shown
    assert ("password" in redact.body(whole, truncated=False)) is (depth <= ac.NESTED_JSON_MAX + 1)


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
        b"\\/",
        b"@\\/",
        b"@:\\",
        b"@:\\/\\/",
        b"@\\u003a",
        b"@\\u003a//",
        b"://a:",
        b"%",
        b"%25",
        b"%41&",
        b"%22",
        b"bearer+",
        b"bearer%20",
        b":/:@",
        b"a=",
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
        (b"token=a&page=1&token=b", "token=***&page=1&token=***"),
        (b"note=Bearer+abc&page=1", "note=Bearer+***&page=1"),
        (b"to=https%253A%252F%252Fu%253Apw%2540h", "to=https://***@h"),
    ],
)
def test_queries(raw: bytes, shown: str) -> None:
    assert redact.query(raw) == shown


@pytest.mark.parametrize("spelling", PATHS)
def test_a_path_hides_a_secret_however_it_is_spelled(spelling: str) -> None:
    for text in (spelling, unquote(spelling)):  # 应用看到的路径已经解码过一次
        shown = redact.path(text)
        assert HIDDEN not in unquote(shown)
        assert shown.startswith("/x") and c.SECRET_MASK in shown


@pytest.mark.parametrize("spelling", QUERIES)
def test_a_query_hides_a_secret_however_it_is_spelled(spelling: str) -> None:
    for shown in (redact.query(spelling.encode()), redact.body(spelling.encode(), truncated=False)):
        assert HIDDEN not in unquote(shown)
        assert c.SECRET_MASK in shown


@pytest.mark.parametrize("spelling", PATHS + QUERIES)
def test_an_answer_that_repeats_it_and_a_user_agent_hide_it_too(spelling: str) -> None:
    answer = json.dumps({"code": "ROUTE_NOT_FOUND", "details": {"path": f"/x?{spelling}"}}).encode()
    for shown in (
        redact.body(answer, truncated=False),
        redact.body(answer, truncated=True),
        redact.field(f"a/1 {spelling}"),
    ):
        assert shown is not None and HIDDEN not in unquote(shown)


@pytest.mark.parametrize("encoded", ["https%3A%2F%2Fuser%3Ahunter2", "https%253a%252f%252fuser%253ahunter2"])
@pytest.mark.parametrize("start", ["u=", '{"u":"'])
def test_a_password_that_is_encoded_is_hidden_even_if_the_body_is_cut_before_its_end(start: str, encoded: str) -> None:
    shown = redact.body((start + encoded).encode(), truncated=True)
    assert HIDDEN not in shown and c.SECRET_MASK in shown


@pytest.mark.parametrize(
    "text",
    ["/api/v1/queues/100%25", "/x/%E4%BD%A0%E5%A5%BD", "/x/a%2525b", "/x/http%3A%2F%2Fh%3A8000%2Fmy+page", "/x/%ff%2"],
)
def test_what_is_encoded_but_no_secret_stays_as_it_was_written(text: str) -> None:
    assert redact.path(text) == text
    assert redact.query(f"page=1&x={text}".encode()) == f"page=1&x={text}"
    assert redact.path(quote(text)) == quote(text)


@pytest.mark.parametrize(
    ("kind", "logged"),
    [
        ("", True),
        ("application/json", True),
        ("application/vnd.oai.openapi+json", True),
        ("text/plain; version=0.0.4", True),
        ("text/event-stream", False),
        ("text/html; charset=utf-8", False),
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
        assert len(shown) == ac.LOG_FIELD_MAX_CHARS + len(c.TRUNCATED)
