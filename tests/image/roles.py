"""Containers of the project's image, as locked up as compose.yaml and the charts have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from taskmill import constants as c
from taskmill.dev.process_table import wait_until
from tests.image.build import TASKMILL
from tests.image.engine import Docker

ECHO: Final = "/bin/echo"
START_S: Final = 90.0
STOP_S: Final = 40
# 同一个网络：测试的服务器只在 127.0.0.1 上听
LOCKED: Final = (
    "--network=host", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--pids-limit=200",
)  # fmt: skip


class Roles:
    """`once` runs a command to its end, `start` a role until `stop`; `user` 0 is that of the image."""

    def __init__(self, docker: Docker, user: int, **environment: str) -> None:
        self._docker = docker
        settings = {"TASKMILL_PLUGIN_SHELL_ALLOW": ECHO, **environment}
        self._options = [*LOCKED, *(f"--env={name}={text}" for name, text in settings.items())]
        if user:
            self._options.append(f"--user={user}:{user}")
        self._containers: list[str] = []

    def once(self, *arguments: str, options: tuple[str, ...] = ()) -> str:
        """Return what a command of the image prints; it ends with exit code 0."""
        return self._docker("run", "--rm", *self._options, *options, TASKMILL, *arguments)

    def start(self, *arguments: str, options: tuple[str, ...] = ()) -> str:
        """Return the id of a container that runs a role."""
        found = self._docker("run", "--detach", *self._options, *options, TASKMILL, *arguments).strip()
        self._containers.append(found)
        return found

    def within(self, container: str, *command: str) -> str:
        """Return what a command prints that runs beside the role."""
        return self._docker("exec", container, *command)

    def stop(self, container: str) -> int:
        """End a role with SIGTERM and return its exit code."""
        self._docker("stop", f"--time={STOP_S}", container)
        return int(self._docker("inspect", "--format={{.State.ExitCode}}", container))

    def end(self) -> None:
        """Remove what was started."""
        if self._containers:
            self._docker("rm", "--force", *self._containers)

    def url_of(self, api: str) -> str:
        """Return where an API says that it listens."""
        wait_until(lambda: bool(self._urls(api)), START_S)
        found = self._urls(api)
        assert found, self.told(api)
        return found[0]

    def told(self, container: str) -> str:
        """Return what a role has logged so far."""
        done = self._docker.tried("logs", container)
        return done.stdout + done.stderr

    def _urls(self, api: str) -> list[str]:
        lines = [json.loads(line) for line in self.told(api).splitlines() if line.startswith("{")]
        return [line["url"].removesuffix(c.API_PREFIX) for line in lines if str(line.get("url")).endswith(c.API_PREFIX)]


def submit_line(url: str, token: str) -> list[str]:
    """Return the command that submits a task and waits until it is completed."""
    args = json.dumps({"argv": [ECHO, "from the image"]})
    given = ["--args", args, "--wait", "--wait-timeout", "60s", "-o", "json", "--url", url, "--token", token]
    return ["task", "submit", "shell.run", *given]


def is_completed(task: dict[str, Any]) -> bool:
    """Return whether that task did what it should."""
    return task["state"] == "completed" and "from the image" in json.dumps(task["result"])


def readable(folder: Path, kubeconfig: Path) -> tuple[str, ...]:
    """Return the options that show a kubeconfig, with the authority in it, to a container of any user."""
    content = json.loads(kubeconfig.read_text())
    for cluster in content["clusters"]:
        authority = Path(cluster["cluster"]["certificate-authority"])
        (folder / "ca.pem").write_text(authority.read_text())
        cluster["cluster"]["certificate-authority"] = "/kube/ca.pem"
    (folder / "config").write_text(json.dumps(content))
    for path in (folder, folder / "ca.pem", folder / "config"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return (f"--volume={folder}:/kube:ro", "--env=KUBECONFIG=/kube/config")
