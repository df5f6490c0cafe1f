"""The audit log of the API server: who asked for what, with the body of writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# 写请求连同请求体都记，读请求只记是谁、读了什么
POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "omitManagedFields": True,
    "rules": [
        {"level": "None", "nonResourceURLs": ["/livez*", "/readyz*", "/healthz*", "/openapi/*"]},
        {"level": "None", "users": ["system:apiserver"]},
        {"level": "Metadata", "resources": [{"group": "", "resources": ["secrets", "serviceaccounts/token"]}]},
        {"level": "Request", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
        {"level": "Metadata"},
    ],
}


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One finished request."""

    user: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    raw: dict[str, Any]

    @classmethod
    def of(cls, raw: dict[str, Any]) -> AuditLine:
        """Read an event of audit.k8s.io/v1."""
        target = raw.get("objectRef", {})
        return cls(
            user=raw["user"].get("username", ""),
            verb=raw["verb"],
            group=target.get("apiGroup", ""),
            resource=target.get("resource", ""),
            subresource=target.get("subresource", ""),
            namespace=target.get("namespace", ""),
            name=target.get("name", ""),
            code=raw.get("responseStatus", {}).get("code", 0),
            raw=raw,
        )


class AuditLog:
    """Reads the file from a mark on: `mark = log.mark()`, something happens, `log.lines(mark, user="operator")`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mark(self) -> int:
        """Return the present end of the log."""
        return self.path.stat().st_size if self.path.exists() else 0

    def lines(self, since: int = 0, **wanted: str | int) -> Iterator[AuditLine]:
        """Yield the requests that ended after the mark `since` and have the attributes `wanted`."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(since)
            for text in file:
                if not text.endswith(b"\n"):
                    return  # 正写到一半
                line = AuditLine.of(json.loads(text))
                if all(getattr(line, name) == value for name, value in wanted.items()):
                    yield line
