"""A plugin for tests on the process kubelet: `naps.nap` sleeps in the worker itself, so a hundred at once cost nothing."""

from __future__ import annotations

import asyncio
from typing import Final

from taskmill import hookimpl, task
from taskmill.plugin import Manifest, Registry
from taskmill.plugin.host import PluginHost
from taskmill.settings import Settings
from tests.cluster.kubelet.images import CHECKOUT, Image

KIND: Final = "naps.nap"
IMAGE: Final = "taskmill:naps"


@task(KIND, timeout=600)
async def nap(ms: int) -> int:
    """Sleep, and return for how long."""
    await asyncio.sleep(ms / 1000)
    return ms


@hookimpl
def taskmill_manifest() -> Manifest:
    """Return who the plugin is."""
    return Manifest(
        name="naps", version="1.0", requires_api=">=1.0,<2", title_en="Naps", title_zh="小睡",
        summary_en="Sleeps for a test.", summary_zh="为测试而睡。",
    )  # fmt: skip


@hookimpl
def taskmill_register(registry: Registry) -> None:
    """Add `naps.nap`."""
    registry.add(nap)


def image() -> Image:
    """Return an image whose workers know `naps.nap`; make it pullable as IMAGE."""
    return Image.taskmill(env={"TASKMILL_PLUGIN_MODULES": __name__, "PYTHONPATH": str(CHECKOUT)})


def host(settings: Settings, module: str = __name__) -> PluginHost:
    """Return the plugins of a platform that submits `naps.nap`, or what another module has."""
    return PluginHost.load(settings.model_copy(update={"plugin_modules": [module]}), env={})
