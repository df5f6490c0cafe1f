"""From a container's spec and its image to a command and a sandbox."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.kubelet.api import Json
from tests.cluster.kubelet.context import PodContext
from tests.cluster.kubelet.environment import environment
from tests.cluster.kubelet.expand import expand
from tests.cluster.kubelet.images import Image
from tests.cluster.kubelet.process import Command, Sandbox
from tests.cluster.kubelet.references import References
from tests.cluster.kubelet.volumes import LIVE, Volumes

MESSAGE_PATH = "/dev/termination-log"


class Making:
    """Makes the containers of one pod."""

    def __init__(self, context: PodContext, references: References, volumes: Volumes) -> None:
        self._context = context
        self._references = references
        self._volumes = volumes

    async def make(self, spec: Json, image: Image, restarts: int) -> tuple[Command, Sandbox]:
        """Return what to start; raises ConfigError."""
        context = self._context
        forced = context.shared.forced(context.pod, context.address)
        env = await environment(
            context.pod,
            spec,
            self._references,
            base={**context.shared.environment(context.pod), **image.env, **forced},
            addresses=context.addresses,
            allocatable=context.shared.allocatable,
        )
        env |= forced
        command = spec.get("command") or list(image.entrypoint)
        arguments = spec.get("args") or ([] if spec.get("command") else list(image.command))
        argv = [expand(part, env) for part in (*command, *arguments)]
        message = self.message_file(spec, restarts)
        message.parent.mkdir(exist_ok=True)
        message.touch()
        mounts = [*self._mounts(spec), (str(message), spec.get("terminationMessagePath") or MESSAGE_PATH, False)]
        sandbox = Sandbox(
            hostname=context.pod["spec"].get("hostname") or context.pod["metadata"]["name"],
            root=context.folder / f"{spec['name']}-{restarts}",
            folders=image.folders,
            mounts=sorted(mounts, key=lambda mount: mount[1].count("/")),
            read_only_root=bool((spec.get("securityContext") or {}).get("readOnlyRootFilesystem")),
        )
        return Command(argv, env, spec.get("workingDir") or image.workdir), sandbox

    def message_file(self, spec: Json, restarts: int) -> Path:
        """Return the file behind the termination message path."""
        return self._context.folder / "messages" / f"{spec['name']}-{restarts}"

    def _mounts(self, spec: Json) -> list[tuple[str, str, bool]]:
        kinds = {volume["name"]: volume for volume in self._context.pod["spec"].get("volumes") or []}
        made: list[tuple[str, str, bool]] = []
        for mount in spec.get("volumeMounts") or []:
            read_only = bool(mount.get("readOnly")) or any(kind in kinds[mount["name"]] for kind in LIVE)
            made.append((str(self._volumes.source(mount)), mount["mountPath"], read_only))
        return made
