"""A release of the chart in a namespace of its own that takes restricted pods only, and what tests do with it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import yaml

from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.settings import Settings
from tests.cluster.commands import CommandError, Commands
from tests.cluster.crd_support import task_queue
from tests.cluster.naps import host
from tests.cluster.node import guest
from tests.support.charts import CHART

NAME: Final = "demo"
PATIENCE_S: Final = 300  # 真的容器、真的探针、两个核
CONNECTION: Final = {"database": {"existingSecret": "app-db"}, "broker": {"existingSecret": "app-broker"}}
SMALL: Final = {"TASKMILL_POOL_SIZE": 2, "TASKMILL_ORM_POOL_SIZE": 2}
VALUES: Final[dict[str, Any]] = {
    **CONNECTION,
    "image": {"tag": "test"},
    "settings": SMALL,
    "api": {"enabled": False},
    "scheduler": {"replicas": 1},
    "operator": {"settings": {"TASKMILL_OPERATOR_TICK_S": 1}},
}
# 任务类型从 ConfigMap 来：镜像就是项目的镜像，里面没有测试
GUEST: Final[dict[str, Any]] = {
    "envFrom": [{"configMapRef": {"name": "guest"}}],
    "volumes": [{"name": "guest", "configMap": {"name": "guest", "items": [{"key": "guest.py", "path": "guest.py"}]}}],
    "volumeMounts": [{"name": "guest", "mountPath": "/guest", "readOnly": True}],
}


def restricted(name: str) -> dict[str, Any]:
    """Return a namespace that refuses what is not restricted, and warns of it."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


class Release:
    """The chart, installed or not yet; `database_url` and `broker_url` are as this process reaches them."""

    def __init__(self, commands: Commands, folder: Path, namespace: str, database_url: str, broker_url: str) -> None:
        self._commands = replace(commands, timeout_s=PATIENCE_S + 60)
        self._folder = folder
        self.namespace = namespace
        self.database_url, self.broker_url = database_url, broker_url

    def helm(self, *arguments: str) -> str:
        """Run Helm; when it fails, say what a person would look at."""
        try:
            return self._commands.helm("-n", self.namespace, *arguments)
        except CommandError as error:
            raise AssertionError(f"{error}\n{self.told()}") from error

    def install(self, verb: str = "install", **changes: Any) -> str:
        """Install it or, as `upgrade`, change it; `changes` are values."""
        values = self._folder / "values.yaml"
        values.write_text(yaml.safe_dump({**VALUES, **changes}))
        return self.helm(verb, NAME, str(CHART), "-f", str(values), "--wait", f"--timeout={PATIENCE_S}s")

    def uninstall(self) -> None:
        """Remove it."""
        self.helm("uninstall", NAME, "--wait", f"--timeout={PATIENCE_S}s")

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace."""
        return self._commands.kubectl("-n", self.namespace, *arguments, stdin=stdin)

    def get(self, *what: str) -> Any:
        """Return an object, or a list."""
        return json.loads(self.kubectl("get", *what, "-o", "json"))

    def apply(self, *items: dict[str, Any]) -> None:
        """Make objects, or change them."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)}))

    def queue(self, name: str, *, pod: dict[str, Any] | None = None, **spec: Any) -> None:
        """Make a TaskQueue whose workers know the tasks of `guest`."""
        texts = {"guest.py": Path(guest.__file__).read_text(), "PYTHONPATH": "/guest", "TASKMILL_PLUGIN_MODULES": "guest"}
        self.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "guest"}, "data": texts})
        self.apply(task_queue(name, pod={**GUEST, **(pod or {})}, **{"plugins": [], **spec}))

    def told(self) -> str:
        """What a person would look at when something hangs."""
        parts = [self.kubectl("get", "pods,jobs,deploy,tq", "-o", "wide"), self.kubectl("get", "events")]
        for item in self.get("pods")["items"]:
            name = item["metadata"]["name"]
            try:
                text = self.kubectl("logs", name, "--all-containers", "--tail=15")
            except CommandError as error:
                text = error.stderr
            parts.append(f"── {name}\n{text}")
        return "\n".join(parts)

    @asynccontextmanager
    async def submitting(self) -> AsyncIterator[Platform]:
        """A platform that submits the tasks of `guest`."""
        settings = Settings.model_validate({"database_url": self.database_url, "broker_url": self.broker_url})
        platform = await Platform.open(settings, host(settings, guest.__name__))
        try:
            yield platform
        finally:
            await platform.close()


async def submit(platform: Platform, queue: str, kind: str, count: int = 1, **args: Any) -> list[UUID]:
    """Submit tasks of one kind."""
    request = SubmitRequest(kind=kind, queue=queue, args=args)
    return [task.id for task in await platform.submit.submit_many([request] * count)]
