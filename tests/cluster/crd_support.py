"""Manifests of our kinds for tests on an API server, and the CRDs on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from taskmill.kube import names
from taskmill.kube.crd import documents as crds

ROOT = Path(__file__).parents[2]
CONNECTION = {"databaseSecretRef": {"name": "app-db"}, "brokerSecretRef": {"name": "app-broker"}}
Manifest = dict[str, Any]


def install_crds(kubectl: Callable[..., str]) -> None:
    """Apply the CRDs as a user does, and wait until they are served; what is there already is brought up to date."""
    kubectl("apply", "-f", str(ROOT / "crds"))
    names = [f"crd/{crd['metadata']['name']}" for crd in crds.documents().values()]
    kubectl("wait", "--for=condition=Established", *names, "--timeout=80s")


def task_queue(name: str = "emails", **spec: Any) -> Manifest:
    """Return a TaskQueue that has a connection and what is given."""
    return _manifest("TaskQueue", name, {"connection": CONNECTION, **spec})


def task_schedule(name: str = "nightly", **spec: Any) -> Manifest:
    """Return a TaskSchedule of kind `http.request` with what is given."""
    return _manifest("TaskSchedule", name, {"connection": CONNECTION, "kind": "http.request", **spec})


def text(manifest: Manifest) -> str:
    """Return a manifest for `kubectl -f -`."""
    return json.dumps(manifest)


def _manifest(kind: str, name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
