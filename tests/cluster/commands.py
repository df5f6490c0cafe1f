"""Run `kubectl` and `helm` against a cluster, with caches of their own: two planes may get the same port."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import binaries

TIMEOUT_S = 90.0


class CommandError(Exception):
    """The command failed; the message ends with what it wrote to stderr."""

    def __init__(self, name: str, arguments: tuple[str, ...], code: int, stderr: str) -> None:
        super().__init__(f"{name} {' '.join(arguments)}: exit {code}: {stderr.strip()}")
        self.code, self.stderr = code, stderr


@dataclass(frozen=True, slots=True)
class Commands:
    """The two clients with the rights of one kubeconfig; `caches` is a folder that they may write, `timeout_s` their patience."""

    kubeconfig: Path
    caches: Path
    timeout_s: float = TIMEOUT_S

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return its output; `stdin` is what `-f -` reads. Raises CommandError, LookupError."""
        return self._run("kubectl", arguments, stdin)

    def helm(self, *arguments: str, stdin: str | None = None) -> str:
        """Run helm and return its output. Raises CommandError, LookupError."""
        return self._run("helm", arguments, stdin)

    @property
    def environment(self) -> dict[str, str]:
        """The environment that leads any client to this cluster."""
        return {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(self.caches / "kube"),
            "HELM_CACHE_HOME": str(self.caches / "helm" / "cache"),
            "HELM_CONFIG_HOME": str(self.caches / "helm" / "config"),
            "HELM_DATA_HOME": str(self.caches / "helm" / "data"),
        }

    def _run(self, name: str, arguments: tuple[str, ...], stdin: str | None) -> str:
        done = subprocess.run(
            [binaries.client(name), *arguments],
            input=stdin or "",
            capture_output=True,
            text=True,
            check=False,
            timeout=self.timeout_s,
            env=self.environment,
        )
        if done.returncode != 0:
            raise CommandError(name, arguments, done.returncode, done.stderr)
        return done.stdout
