"""Which plugins can work: those whose own tables do not fit wait, out of service, until their migrations have run."""

from __future__ import annotations

from taskmill import reasons
from taskmill.errors import Code, PluginError
from taskmill.log import get_logger
from taskmill.plugin.host import PluginHost
from taskmill.services.schema import behind

log = get_logger(__name__)


async def take_stock(database_url: str, host: PluginHost, *, starting: bool = False) -> list[str]:
    """Hold back plugins whose tables do not fit, of all when `starting`, later of those that came; return what came into service.

    Such a plugin was held back and its tables fit now, or it took longer than its budget to start. One that already works is
    left alone. UnavailableError DATABASE_UNAVAILABLE.
    """
    came = set(host.arrive())
    late = await behind(database_url, host.migrations())
    for name in late if starting else came & late.keys():
        chain = late[name]
        words = reasons.TABLES_BEHIND if chain.readable else reasons.TABLES_AHEAD
        reason = words(current=chain.current or reasons.EMPTY, head=chain.head)
        if host.hold(name, PluginError(Code.PLUGIN_FAILED, plugin=name, reason=reason)):
            log.error(
                "插件的表没有迁移好，这个工作进程不运行它：taskmill migrate up",
                plugin=name,
                current=chain.current,
                head=chain.head,
            )
    return sorted((came | set(host.release(host.migrations().keys() - late.keys()))) - late.keys())
