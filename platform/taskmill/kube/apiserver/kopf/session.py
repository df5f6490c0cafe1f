"""The HTTP session of the watch layer: it logs in as all our requests do, and tells which lists were read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import kopf
from kubernetes.aio.client.configuration import Configuration

from taskmill.kube.apiserver.access import authorization, load_access, open_session

Access = Callable[[], Awaitable[Configuration]]
PORTS = {"http": 80, "https": 443}
FORBIDDEN = 403


@asynccontextmanager
async def watch_session(
    listed: Callable[[str], None], load: Access = load_access, unwatched: Callable[[str], None] = lambda _: None
) -> AsyncIterator[kopf.AiohttpSession]:
    """Give a session for kopf; SetupError CONFIG_INVALID. `listed` is called with the path of each list, `unwatched` with
    that of each watch for which the right is missing.

    They are called when the answer begins: the list is then of a moment that has passed. The path begins with `/api`, also
    where the API server is behind a longer one.
    """
    configuration = await load()
    server = urlsplit(str(configuration.host))
    origin, base = (server.hostname, server.port or PORTS[server.scheme]), server.path.rstrip("/")
    configuration.connection_pool_maxsize = 0  # 每一路看守占一个连接，命名空间再多也不能有谁等着

    async def send(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if (request.url.host, request.url.port) == origin:  # 被转到别处去的，不能带着我们的令牌
            request.headers.update(await authorization(configuration))
            request.server_hostname = configuration.tls_server_name
        answer = await handler(request)
        # 后续的页与第一页是同一时刻的；不许列的也要说，由我们自己去看是怎么回事
        if (
            (answer.ok or answer.status == FORBIDDEN)
            and request.method == "GET"
            and request.url.query.keys().isdisjoint({"watch", "continue"})
        ):
            listed(request.url.path.removeprefix(base))
        if answer.status == FORBIDDEN and "watch" in request.url.query:
            unwatched(request.url.path.removeprefix(base))
        return answer

    async with open_session(configuration, middlewares=(send,), proxy=configuration.proxy) as session:
        yield kopf.AiohttpSession(server=str(configuration.host), aiohttp_session=session)
