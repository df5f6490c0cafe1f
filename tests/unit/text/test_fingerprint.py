"""What is replaced in a message, and what makes two failures the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmill.text.fingerprint import DIGITS, MESSAGE_MAX, READ_MAX, fingerprint, normalised, place

TEXTS = st.text(max_size=300)
WORDS = st.sampled_from(["could not read", "no answer from", "order", "is not there:", "after", "(code", "HTTP"])
# 同一个位置上会变的东西：换成同类的另一个，指纹不变
CHANGING = {
    "n": st.one_of(st.integers(0, 10**30).map(str), st.sampled_from(["1.5", "12:30:05", "1,000"])),
    "id": st.uuids().map(str),
    "hex": st.integers(0, 2**64).map(hex),
    "url": st.sampled_from(["https://a.example/x?y=1", "postgresql://u@h:5432/db", "s3://bucket/key-7"]),
    "path": st.sampled_from(["/tmp/a1/b.csv", "./out/7.txt", "~/x", r"C:\data\x.csv", "/var/lib/x/"]),  # noqa: S108 - 只是文字
    "text": st.text(st.characters(codec="ascii", exclude_characters="'\n\r\t\x0b\x0c\x1c\x1d\x1e\x1f"), max_size=20).map(
        lambda text: f"'{text}'"
    ),
}


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("order 17 of customer 42 not found", "order <n> of customer <n> not found"),
        ("KeyError: 'user_17'", "KeyError: <text>"),
        ('no column "price" in b\'x\'', "no column <text> in <text>"),
        ("can't open it, don't retry", "can't open it, don't retry"),
        ("GET https://api.example/v1/u/17?x=a failed: 503", "GET <url> failed: <n>"),
        ("[Errno 2] No such file or directory: /data/in/17.csv", "[Errno <n>] No such file or directory: <path>"),
        ("either/or, and/or", "either/or, and/or"),
        ("task 0190a5c8-7d3f-7aaa-8000-000000000001 is gone", "task <id> is gone"),
        ("<Session object at 0x7f3a12>", "<Session object at <hex>>"),
        ("commit deadbeef12 refused", "commit <hex> refused"),
        ("order_17 took 3.50 s at 12:30:05,123", "order_<n> took <n> s at <n>"),
        ("a\n  b\tc", "a b c"),
        ("超时：等了 30 秒", "超时：等了 <n> 秒"),
        ("", ""),
    ],
)  # fmt: skip
def test_what_is_replaced(message: str, told: str) -> None:
    assert normalised(message) == told


@given(data=st.data(), parts=st.lists(st.tuples(WORDS, st.sampled_from(sorted(CHANGING))), min_size=1, max_size=6))
def test_what_changes_between_two_failures_does_not_part_them(data: st.DataObject, parts: list[tuple[str, str]]) -> None:
    first, second = (
        " ".join(f"{word} {data.draw(CHANGING[name])}" for word, name in parts) for _ in range(2)
    )  # fmt: skip
    assert normalised(first) == normalised(second)


@given(TEXTS)
def test_nothing_that_counts_is_left_and_it_is_one_short_line(message: str) -> None:
    told = normalised(message)
    assert not re.search("[0-9]", told)
    assert len(told) <= MESSAGE_MAX
    assert told == " ".join(told.split())


@pytest.mark.parametrize("letter", ["a", "'", "/", "1", "0x", "a-", "://", "\\", "~", "é", "\x00"])
def test_a_message_of_any_length_is_read_to_a_bound(letter: str) -> None:
    message = letter * 1_000_000
    assert normalised(message) == normalised(message[:READ_MAX])


@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_a_fingerprint_is_short_stable_and_of_all_its_parts(kind: str, error: str, message: str, frame: str) -> None:
    made = fingerprint(kind, error, message, frame)
    assert re.fullmatch(rf"[0-9a-f]{{{DIGITS}}}", made)
    assert made == fingerprint(kind, error, message, frame)
    for other in ((kind + "x", error, message, frame), (kind, error + "x", message, frame),
                  (kind, error, message + "x", frame), (kind, error, message, frame + "x")):  # fmt: skip
        assert fingerprint(*other) != made


@pytest.mark.parametrize(
    ("file", "told"),
    [("/srv/shop/mails.py", "shop/mails.py send"), ("mails.py", "mails.py send"), (r"C:\shop\mails.py", "shop/mails.py send")],
)  # fmt: skip
def test_a_frame_is_named_without_the_machine_and_the_line(file: str, told: str) -> None:
    assert place(file, "send") == told
