"""The request as it comes over the wire: what its type alone refuses."""

from __future__ import annotations

import msgspec
import pytest

from taskmill.services.tasks.submit_request import SubmitRequest


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b"[]",
        b'{"kind": null}',
        b'{"kind": 1}',
        b'{"kind": "a.b", "surplus": 1}',
        b'{"kind": "a.b", "priority": "1"}',
        b'{"kind": "a.b", "delay_s": "5"}',
        b'{"kind": "a.b", "run_at": "yesterday"}',
        b'{"kind": "a.b", "run_at": 5}',
        b'{"kind": "a.b", "tags": "x"}',
        b'{"kind": "a.b", "tags": [1]}',
        b'{"kind": "a.b", "meta": []}',
        b'{"kind": "a.b", "max_attempts": 1.5}',
    ],
)
def test_a_wrong_type_is_refused(raw: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(raw, type=SubmitRequest)


@pytest.mark.parametrize(
    "raw", [b'{"kind": "a.b", "args": {"t": "\\ud800"}}', b'{"kind": "a\xff"}', b'{"kind": "a.b",}', b""]
)
def test_broken_json_is_refused(raw: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        msgspec.json.decode(raw, type=SubmitRequest)


def test_only_the_kind_is_needed() -> None:
    request = msgspec.json.decode(b'{"kind": "a.b"}', type=SubmitRequest)
    assert (request.args, request.tags, request.delay_s) == ({}, [], None)


def test_requests_do_not_share_their_defaults() -> None:
    one, other = SubmitRequest(kind="a.b"), SubmitRequest(kind="a.b")
    one.tags.append("x")
    assert other.tags == []
