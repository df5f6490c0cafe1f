"""kopf as the watch layer only: it lists, watches and reconnects, and hands every event over to us.

No handlers but `on.event`, so it writes nothing to any object: no finalizers, annotations or events of its own. It runs
in a thread with a loop of its own, because it ends every task of its loop when it stops, and is started again if it
dies. What it does not tell is a deletion that happened while it was away: the lists of `Relister` do.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import kopf

from taskmill import constants as c
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.kinds import Kind
from taskmill.kube.apiserver.kopf.session import watch_session
from taskmill.kube.state import Manifest
from taskmill.log import get_logger

log = get_logger(__name__)
Sink = Callable[[Kind, str, Manifest], None]  # 种类、事件类型（空：列表里的）、对象
Listed = Callable[[Kind, str], None]  # 种类、命名空间（空：整个集群）


class Watch:
    """Feeds `sink`, in the loop that made it, with the events of `namespaces` (empty: of the whole cluster).

    `listed` is told of each kind and namespace that was listed: kopf had no place to watch from, or it had lost it.
    `kinds` must hold none that may not be listed: kopf would die of it, again and again.
    """

    def __init__(self, namespaces: Sequence[str], sink: Sink, listed: Listed, kinds: Sequence[Kind] = k.WATCHED) -> None:
        self._namespaces, self._sink, self._listed, self._kinds = tuple(namespaces), sink, listed, tuple(kinds)
        self._paths = {kind.path(each): (kind, each) for kind in kinds for each in self._namespaces or ("",)}
        self._loop = asyncio.get_running_loop()
        self._events: deque[tuple[Kind, str, Manifest]] = deque()
        self._called = False  # 已叫过、还没开始取
        self._stop = threading.Event()
        self._ending = threading.Event()  # 这一次的 kopf 该停了
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self._begun = False  # 这一次的 kopf 列过表了
        self.restarts = 0

    def start(self) -> None:
        """Begin to watch."""
        _quiet()
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
                _run_bounded(self._watch())
            except Exception:
                log.exception("看守线程出错")
            if not self._stop.is_set():
                self.restarts += 1
                pause = restart_pause(pause, time.monotonic() - begin)
                log.warning("看守线程退出，重新启动", restarts=self.restarts, pause_s=pause)
                self._stop.wait(pause)

    async def _watch(self) -> None:
        ending = self._ending = threading.Event()
        if self._stop.is_set():
            return
        self._begun = False
        try:
            async with watch_session(self._tell) as session:
                watching = asyncio.create_task(kopf.operator(
                    registry=self._registry(session), settings=_settings(), standalone=True, stop_flag=ending,
                    clusterwide=not self._namespaces, namespaces=self._namespaces,
                    # 不给名字，kopf 就去查用户名：OpenShift 随机分配的 UID 没有用户名，每次都会失败
                    identity="taskmill",  # pyright: ignore[reportArgumentType] - 只是给 str 起的别名
                ))  # fmt: skip
                guarding = asyncio.create_task(self._until_one_is_missing())
                ended, _ = await asyncio.wait((watching, guarding), return_when=asyncio.FIRST_COMPLETED)
                if watching in ended:
                    await watching
        finally:
            ending.set()  # kopf 有一个线程在等它；不设，进程退出时会一直等那个线程

    async def _until_one_is_missing(self) -> None:
        """一路看守遇到不重试的错误（403、410）就没了，而 kopf 照常运行、或者停不下来：由我们发现，全部重来。

        数的是还有几路，不是少了哪一路：没等我们看到就断了的、发现资源时漏掉的，也都算数。
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + c.KUBE_WATCH_START_S
        while True:
            await asyncio.sleep(c.KUBE_WATCH_GUARD_S)
            alive = sum(task.get_name().startswith("watcher for ") for task in asyncio.all_tasks())
            # 各路是一起启动的：有一路列过表，就该全都在
            if alive < len(self._paths) and (self._begun or loop.time() >= deadline):
                log.warning("有看守断了", alive=alive, needed=len(self._paths))
                return

    def _registry(self, session: kopf.AiohttpSession) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> Any:
            return session  # 被拒绝后再给同一个，kopf 就认输，由我们歇一会儿从头来过

        for kind in self._kinds:
            kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=kind.plural)(self._handler(kind))
        return registry

    def _tell(self, path: str) -> None:
        if found := self._paths.get(path):
            self._begun = True
            self._loop.call_soon_threadsafe(self._listed, *found)

    def _handler(self, kind: Kind) -> Any:
        async def handle(event: Any, **_: Any) -> None:
            # kopf 之后还要读这个对象，我们的缓存只存瘦身后的副本
            self._events.append((kind, event["type"] or "", event["object"]))
            if not self._called:  # 先放再问，而取的一方先清标记再取：不论在哪里被切走，都不会漏叫
                self._called = True
                self._loop.call_soon_threadsafe(self._drain)

        return handle

    def _drain(self) -> None:
        self._called = False
        while self._events:
            try:
                self._sink(*self._events.popleft())
            except Exception:
                log.exception("事件处理出错")


def restart_pause(before: float, lived_s: float) -> float:
    """Return how long to wait before kopf is begun anew, given the last pause (0: none) and how long it lived since."""
    if lived_s >= c.KUBE_WATCH_STABLE_S or not before:
        return c.KUBE_WATCH_RESTART_S
    return min(2 * before, c.KUBE_WATCH_RESTART_MAX_S)


def _run_bounded(work: Coroutine[Any, Any, None]) -> None:
    """像 asyncio.run，但不会为收不了尾的任务等下去：它们和这个循环一起被丢下。

    kopf 的连接断得不巧时，它的任务会一直等着再也不会来的登录。它被取消时又会取消循环里的一切，
    所以等它的不能是循环里的任务。
    """
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        deadline = time.monotonic() + c.KUBE_WATCH_END_S
        while asyncio.all_tasks(loop) and time.monotonic() < deadline:
            loop.call_later(c.KUBE_WATCH_END_S / 100, loop.stop)
            loop.run_forever()
        for task in left:
            _ = task.done() and (task.cancelled() or task.exception())  # 有错的 kopf 已经记过
        if stuck := asyncio.all_tasks(loop):
            log.warning("看守迟迟不收尾，丢下它", tasks=len(stuck), wait_s=c.KUBE_WATCH_END_S)
        loop.close()


class _Nothing(kopf.DiffBaseStorage):
    """kopf 为「改了什么」给每个事件深拷贝整个对象；我们不问它，这占看守线程的一半时间。"""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:  # noqa: ARG002 - kopf 的签名
        return {}

    def fetch(self, *, body: Any) -> Any:  # noqa: ARG002
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """What is never built is never stored."""


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = _Nothing()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.request_timeout = c.KUBE_REQUEST_TIMEOUT_S
    settings.networking.error_backoffs = c.KUBE_WATCH_BACKOFFS
    settings.process.ultimate_exiting_timeout = None
    settings.watching.chunk_size = c.KUBE_LIST_CHUNK
    settings.queueing.idle_timeout = c.KUBE_STREAM_IDLE_S
    for kind in k.WATCHED:
        if kind.selector:
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = kind.selector
    return settings


class _Noise(logging.Filter):
    """它在自己的线程里跑是有意的。"""

    def filter(self, record: logging.LogRecord) -> bool:
        return "OS signals are ignored" not in str(record.msg)


def _quiet() -> None:
    logger = logging.getLogger("kopf")
    logger.setLevel(logging.WARNING)
    for each in ("kopf._core.reactor.running", "kopf.objects", "kopf.activities"):
        logging.getLogger(each).setLevel(logging.WARNING)
    logging.getLogger("kopf._core.reactor.running").addFilter(_Noise())
