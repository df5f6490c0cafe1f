"""kopf as the watch layer only: it lists, watches and reconnects, and hands every event over to us.

No handlers but `on.event`, so it writes nothing to any object: no finalizers, annotations or events of its own. It runs
in a thread with a loop of its own, because it ends every task of its loop when it stops, and is started again if it
dies. What it does not tell is a deletion that happened while it was away: the lists of `Relister` do.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import kopf

from taskmill import constants as c
from taskmill.kube import constants as kc
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.access import load_access
from taskmill.kube.apiserver.kinds import Kind
from taskmill.kube.apiserver.kopf.bounded import run_bounded
from taskmill.kube.apiserver.kopf.crossing import Crossing, Sink
from taskmill.kube.apiserver.kopf.session import Access, watch_session
from taskmill.kube.apiserver.kopf.settings import quiet, watch_settings
from taskmill.kube.apiserver.tenants import Tenants
from taskmill.log import get_logger

log = get_logger(__name__)
Listed = Callable[[Kind, str], None]  # 种类、命名空间（空：整个集群）


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchConfig:
    """How patient the watch is, in seconds: between looks at the watches, until the first is there, from one end to the
    next start (doubling from `restart_s` to `restart_max_s` unless it lived for `stable_s`), and with one that ends.
    """

    guard_s: float = kc.KUBE_WATCH_GUARD_S
    start_s: float = kc.KUBE_WATCH_START_S
    restart_s: float = kc.KUBE_WATCH_RESTART_S
    restart_max_s: float = kc.KUBE_WATCH_RESTART_MAX_S
    stable_s: float = kc.KUBE_WATCH_STABLE_S
    end_s: float = kc.KUBE_WATCH_END_S


class Watch:
    """Feeds `sink`, in the loop that made it, with the events of those `tenants` that can be read, and begins anew when
    they change.

    `listed` is told of each kind and namespace that was listed, or refused: kopf had no place to watch from, or it had
    lost it. `kinds` must hold none that may not be listed: kopf would die of it, again and again.
    """

    def __init__(
        self,
        tenants: Tenants,
        sink: Sink,
        listed: Listed,
        kinds: Sequence[Kind] = k.WATCHED,
        *,
        config: WatchConfig | None = None,
        access: Access = load_access,
    ) -> None:
        self._tenants, self._listed, self._kinds = tenants, listed, tuple(kinds)
        self._paths = {kind.path(each): (kind, each) for kind in kinds for each in tenants.all}
        self._loop = asyncio.get_running_loop()
        self._crossing, self._config, self._access = Crossing(sink), config or WatchConfig(), access
        self._stop = threading.Event()
        self._ending = threading.Event()  # 这一次的 kopf 该停了
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self._begun = False  # 这一次的 kopf 列过表了
        self.restarts = 0
        self._refused: set[str] = set()  # 说过的

    def start(self) -> None:
        """Begin to watch."""
        quiet()
        self._thread.start()

    async def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._ending.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, c.SHUTDOWN_GRACE_S)

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.is_set():
            begin = time.monotonic()
            try:
                run_bounded(self._watch(), self._config.end_s)
            except Exception:
                log.exception("看守线程出错")
            if not self._stop.is_set():
                self.restarts += 1
                pause = restart_pause(pause, time.monotonic() - begin, self._config)
                log.warning("看守线程退出，重新启动", restarts=self.restarts, pause_s=pause)
                self._stop.wait(pause)

    async def _watch(self) -> None:
        ending = self._ending = threading.Event()
        if self._stop.is_set():
            return
        self._begun, lost = False, self._tenants.lost
        namespaces = [each for each in self._tenants.all if each not in lost]
        if not namespaces:
            await self.until_one_is_missing(lost)
            return
        try:
            async with watch_session(self.note_list, self._access, self.note_refusal) as session:
                watching = asyncio.create_task(kopf.operator(
                    registry=self._registry(session), settings=watch_settings(), standalone=True, stop_flag=ending,
                    clusterwide=namespaces == [""], namespaces=[] if namespaces == [""] else namespaces,
                    # 不给名字，kopf 就去查用户名：OpenShift 随机分配的 UID 没有用户名，每次都会失败
                    identity="taskmill",  # pyright: ignore[reportArgumentType] - 只是给 str 起的别名
                ))  # fmt: skip
                guarding = asyncio.create_task(self.until_one_is_missing(lost))
                ended, _ = await asyncio.wait((watching, guarding), return_when=asyncio.FIRST_COMPLETED)
                if watching in ended:
                    await watching
        finally:
            ending.set()  # kopf 有一个线程在等它；不设，进程退出时会一直等那个线程

    async def until_one_is_missing(self, lost: frozenset[str]) -> None:
        """Return when fewer watches of this loop are alive than there should be, or when other namespaces are `lost`."""
        # 一路看守遇到不重试的错误（403、410）就没了，而 kopf 照常运行、或者停不下来：由我们发现，全部重来。
        # 数的是还有几路，不是少了哪一路：没等我们看到就断了的、发现资源时漏掉的，也都算数。
        loop = asyncio.get_running_loop()
        deadline, needed = loop.time() + self._config.start_s, len(self._kinds) * (len(self._tenants.all) - len(lost))
        while True:
            await asyncio.sleep(self._config.guard_s)
            if self._tenants.lost != lost:
                log.warning("能读的命名空间变了", lost=sorted(self._tenants.lost))
                return
            alive = sum(task.get_name().startswith("watcher for ") for task in asyncio.all_tasks())
            # 各路是一起启动的：有一路列过表，就该全都在
            if alive < needed and (self._begun or loop.time() >= deadline):
                log.warning("有看守断了", alive=alive, needed=needed)
                return

    def _registry(self, session: kopf.AiohttpSession) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> Any:
            return session  # 被拒绝后再给同一个，kopf 就认输，由我们歇一会儿从头来过

        for kind in self._kinds:
            kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=kind.plural)(self._handler(kind))
        return registry

    def note_list(self, path: str) -> None:
        """Tell of the list at a path, if it is one of ours; called in the thread of the watch."""
        if found := self._paths.get(path):
            self._begun = True
            self._loop.call_soon_threadsafe(self._listed, *found)

    def note_refusal(self, path: str) -> None:
        """Tell once of a path that may be listed and not watched: its changes are only seen with the next lists."""
        if path in self._paths and path not in self._refused:
            self._refused.add(path)
            kind, namespace = self._paths[path]
            log.error("列得出来却不许看守，变化要等下次列表", verb="watch", kind=kind.plural, namespace=namespace or "*")

    def _handler(self, kind: Kind) -> Any:
        async def handle(event: Any, **_: Any) -> None:
            self._crossing.put(kind, event["type"] or "", event["object"])

        return handle


def restart_pause(before: float, lived_s: float, config: WatchConfig) -> float:
    """Return how long to wait before kopf is begun anew, given the last pause (0: none) and how long it lived since."""
    if lived_s >= config.stable_s or not before:
        return config.restart_s
    return min(2 * before, config.restart_max_s)
