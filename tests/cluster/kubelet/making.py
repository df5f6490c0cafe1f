"""From a container's spec and its image to a command and a sandbox."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.cluster.kubelet.api import Json
from tests.cluster.kubelet.context import PodContext
from tests.cluster.kubelet.environment import environment
from tests.cluster.kubelet.expand import expand
from tests.cluster.kubelet.images import EVERYWHERE, Image
from tests.cluster.kubelet.process import Command, Sandbox
from tests.cluster.kubelet.references import ConfigError, References
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
        env = {name: _bound(value, context) for name, value in (env | forced).items()}
        command = spec.get("command") or list(image.entrypoint)
        arguments = spec.get("args") or ([] if spec.get("command") else list(image.command))
        argv = [_bound(expand(part, env), context) for part in (*command, *arguments)]
        message = self.message_file(spec, restarts)
        message.parent.mkdir(exist_ok=True)
        message.touch()
        message.chmod(0o666)
        mounts = [*self._mounts(spec), (str(message), spec.get("terminationMessagePath") or MESSAGE_PATH, False)]
        sandbox = Sandbox(
            hostname=context.pod["spec"].get("hostname") or context.pod["metadata"]["name"],
            root=context.folder / f"{spec['name']}-{restarts}",
            folders=image.folders,
            mounts=sorted(mounts, key=lambda mount: mount[1].count("/")),
            read_only_root=bool((spec.get("securityContext") or {}).get("readOnlyRootFilesystem")),
            passable=(*image.folders, Path(sys.base_prefix)),
        )
        return Command(argv, env, spec.get("workingDir") or image.workdir, self._user(spec, image)), sandbox

    def message_file(self, spec: Json, restarts: int) -> Path:
        """Return the file behind the termination message path."""
        return self._context.folder / "messages" / f"{spec['name']}-{restarts}"

    def _user(self, spec: Json, image: Image) -> tuple[int, int]:
        both = {**(self._context.pod["spec"].get("securityContext") or {}), **(spec.get("securityContext") or {})}
        uid, gid = image.user
        if "runAsUser" in both:
            uid, gid = both["runAsUser"], 0
        if both.get("runAsNonRoot") and uid == 0:
            raise ConfigError("container has runAsNonRoot and image will run as root")
        return uid, both.get("runAsGroup", gid)

    def _mounts(self, spec: Json) -> list[tuple[str, str, bool]]:
        kinds = {volume["name"]: volume for volume in self._context.pod["spec"].get("volumes") or []}
        made: list[tuple[str, str, bool]] = []
        for mount in spec.get("volumeMounts") or []:
            read_only = bool(mount.get("readOnly")) or any(kind in kinds[mount["name"]] for kind in LIVE)
            made.append((str(self._volumes.source(mount)), mount["mountPath"], read_only))
        return made


def _bound(value: str, context: PodContext) -> str:
    """Replace "every address", which the other pods would have too, with the pod's own."""
    return context.shared.network.local(context.address) if value == EVERYWHERE else value
