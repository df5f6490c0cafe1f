"""Answers of the API server, sorted by what the caller can do about them."""

from __future__ import annotations

from typing import Any

import pytest

from taskmill.kube.apiserver import failures as f


@pytest.mark.parametrize(
    ("status", "body", "applying", "kind"),
    [
        (409, {"reason": "Conflict"}, False, f.ConflictError),
        (409, {"reason": "AlreadyExists"}, False, f.ExistsError),
        (403, {"reason": "Forbidden"}, False, f.ForbiddenError),
        (404, {"reason": "NotFound"}, False, f.NotFoundError),
        (410, {"reason": "Expired"}, False, f.GoneError),
        (422, {"reason": "Invalid"}, True, f.InvalidError),
        (429, {"reason": "TooManyRequests"}, False, f.TransientError),
        (500, {"reason": "InternalError"}, True, f.TransientError),
        (500, {"message": "failed to create typed patch object: unknown field"}, True, f.InvalidError),
        (500, {"message": "etcdserver: request timed out"}, False, f.TransientError),
        (503, {}, True, f.TransientError),
    ],
)
def test_kinds(status: int, body: dict[str, Any], applying: bool, kind: type[f.KubeError]) -> None:
    error = f.failure("apply", "deployments ns/x", status, body, applying=applying)
    assert type(error) is kind
    assert error.verb in str(error) and error.target in str(error)


def test_a_conflict_of_field_managers_names_the_fields() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "field": ".spec.replicas"},
        {"reason": "Other", "field": "x"},
    ]
    error = f.failure("apply", "d", 409, {"reason": "Conflict", "details": {"causes": causes}}, applying=True)
    assert isinstance(error, f.ConflictError)
    assert error.fields == (".spec.replicas",)


def test_when_to_come_back() -> None:
    error = f.failure("list", "pods", 429, {"details": {"retryAfterSeconds": 7}})
    assert error.retry_after_s == 7
