"""One container of a pod: pulled, made, started, probed, restarted with back-off, stopped."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from uuid import uuid4

from tests.cluster.kubelet.api import Json
from tests.cluster.kubelet.context import PodContext
from tests.cluster.kubelet.handlers import Handlers
from tests.cluster.kubelet.images import Image, PullError
from tests.cluster.kubelet.making import Making
from tests.cluster.kubelet.probes import Probes
from tests.cluster.kubelet.process import Process
from tests.cluster.kubelet.references import ConfigError
from tests.cluster.kubelet.status import Container, now

MESSAGE_BYTES = 4096
TAIL_BYTES, TAIL_LINES = 2048, 80
NOT_STARTED = 128  # 命令不存在时运行时给出的退出码


class Runner:
    """Drives one container until it won't be started again."""

    def __init__(self, context: PodContext, spec: Json, making: Making, *, init: bool) -> None:
        self.view = Container(spec["name"], spec["image"])
        self.process: Process | None = None
        self.doom = ""  # 下一次结束的原因，例如 OOMKilled
        self.spec = spec
        self.log = context.folder / "logs" / f"{spec['name']}.log"
        self._context = context
        self._making = making
        self._init = init
        self._stopping = asyncio.Event()
        self._handlers: Handlers | None = None
        self._killer: asyncio.Task[None] | None = None
        self._log_start = 0

    async def run(self) -> None:
        """Run it until its end is final or `stop` was called."""
        pace, failures = self._context.shared.pace, 0
        while (image := await self._pull()) is not None:
            begun = await self._begin(image)
            if begun is None:
                return
            code = self.view.exit_code
            if self._stopping.is_set() or not self._restarts(code):
                return
            if failures:  # 第一次立刻重启，同真的一样
                self.view.last = self.view.state
                self._wait("CrashLoopBackOff", f"back-off restarting failed container {self.view.name}")
                if await self._pause(min(pace.back_off_s * 2 ** (failures - 1), pace.back_off_max_s)):
                    return
            else:
                self.view.last = self.view.state
            failures += 1
            self.view.restarts += 1

    def _restarts(self, code: int | None) -> bool:
        policy = self._context.pod["spec"].get("restartPolicy", "Always")
        return policy != "Never" and (code != 0 or (policy == "Always" and not self._init))

    async def _pull(self) -> Image | None:
        name, failures = self.view.image, 0
        if await self._pause(self._context.shared.delay(name)):
            return None
        while not self._stopping.is_set():
            try:
                return self._context.shared.images.pull(name)
            except PullError as error:
                pace, failures = self._context.shared.pace, failures + 1
                self._wait("ErrImagePull", str(error))
                if await self._pause(pace.back_off_s):
                    return None
                self._wait("ImagePullBackOff", f'Back-off pulling image "{name}": {error}')
                await self._pause(min(pace.back_off_s * 2**failures, pace.back_off_max_s))
        return None

    async def _begin(self, image: Image) -> int | None:
        """Start it, see it through, and return the exit code; None if stopped before it started."""
        while True:
            try:
                command, sandbox = await self._making.make(self.spec, image, self.view.restarts)
                break
            except ConfigError as error:
                self._wait("CreateContainerConfigError", str(error))
                if await self._pause(self._context.shared.pace.config_retry_s):
                    return None
        if self._stopping.is_set():
            return None
        self.view.container_id = f"process://{uuid4().hex}"
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        if "/" not in command.argv[0] and not shutil.which(command.argv[0], path=command.env.get("PATH", "")):
            message = f'exec: "{command.argv[0]}": executable file not found in $PATH'
            return self._ended(NOT_STARTED, now(), "StartError", message)
        self.process = process = await Process.start(command, sandbox, self.log)
        started = now()
        self.view.state = {"running": {"startedAt": started}}
        self._context.changed()
        if self._stopping.is_set():
            process.kill()
        self._handlers = Handlers(self._context, self.spec, process, command, self.log)
        probes = asyncio.create_task(self._probes().run())
        try:
            code = await process.wait()
        finally:
            probes.cancel()
            process.kill()
        if self._killer is not None:
            await asyncio.gather(self._killer, return_exceptions=True)
            self._killer = None
        reason, self.doom = self.doom or ("Completed" if code == 0 else "Error"), ""
        return self._ended(code, started, reason, self._message(code))

    def _probes(self) -> Probes:
        assert self._handlers is not None
        return Probes(self.spec, self.view, self._handlers, changed=self._context.changed, sick=self._sick)

    def _sick(self, probe: Json, _which: str) -> None:
        grace = probe.get("terminationGracePeriodSeconds") or self._context.pod["spec"]["terminationGracePeriodSeconds"]
        if not self._stopping.is_set():
            self._killer = asyncio.create_task(self._finish(grace))

    def _ended(self, code: int, started: str, reason: str, message: str) -> int:
        ended = {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": now()}
        ended["containerID"] = self.view.container_id
        self.view.state = {"terminated": ended | ({"message": message} if message else {})}
        self.view.ready = self.view.started = False
        self._context.changed()
        return code

    def _message(self, code: int) -> str:
        file = self._making.message_file(self.spec, self.view.restarts)
        text = file.read_bytes()[:MESSAGE_BYTES].decode(errors="replace") if file.exists() else ""
        if text or code == 0 or self.spec.get("terminationMessagePolicy") != "FallbackToLogsOnError":
            return text
        tail = self.log.read_bytes()[self._log_start :][-TAIL_BYTES:].decode(errors="replace")
        return "".join(tail.splitlines(keepends=True)[-TAIL_LINES:])

    async def stop(self, grace: float) -> None:
        """Run the preStop hook, ask it to end, kill it after `grace` seconds; it is not started again."""
        self._stopping.set()
        await self._finish(grace)

    async def _finish(self, grace: float) -> None:
        process = self.process
        if process is None or not process.running:
            return
        deadline = asyncio.get_running_loop().time() + grace
        hook = (self.spec.get("lifecycle") or {}).get("preStop")
        if hook and self._handlers is not None:
            await self._handlers.succeeds(hook, grace)
        process.signal()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await process.wait()
        process.kill()
        await process.wait()

    def kill(self, reason: str = "") -> None:
        """Kill it at once; `reason` becomes that of its end."""
        if self.process is not None and self.process.running:
            self.doom = reason
            self.process.kill()

    async def _pause(self, seconds: float) -> bool:
        """Wait; return early, and True, if it shall stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()

    def _wait(self, reason: str, message: str) -> None:
        self.view.state = {"waiting": {"reason": reason, "message": message}}
        self.view.ready = self.view.started = False
        self._context.changed()
