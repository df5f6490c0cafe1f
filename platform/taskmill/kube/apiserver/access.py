"""Where the API server is and how to log in: the pod's ServiceAccount, else the kubeconfig."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

import aiohttp
import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from taskmill.errors import Code, SetupError

READ_BUFFER = 2**21  # 一个对象的事件可能有一两 MiB，aiohttp 默认的缓冲装不下
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


async def load_access() -> Configuration:
    """Read the ServiceAccount of this pod, or the kubeconfig (`KUBECONFIG`); SetupError CONFIG_INVALID."""
    configuration = Configuration()
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and not os.environ.get("KUBECONFIG"):
            load_incluster_config(client_configuration=configuration)
        else:
            await load_kube_config(client_configuration=configuration)
    except (ConfigException, OSError, yaml.YAMLError) as error:
        raise SetupError(Code.CONFIG_INVALID, field="KUBECONFIG", reason=str(error)) from error
    return configuration


def own_namespace() -> str:
    """Return the namespace of this pod, else that of the kubeconfig's current context, else `default`."""
    if NAMESPACE_FILE.exists() and not os.environ.get("KUBECONFIG"):
        return NAMESPACE_FILE.read_text().strip()
    for path in (os.environ.get("KUBECONFIG") or "~/.kube/config").split(os.pathsep):
        file = Path(path).expanduser()
        if not file.exists():
            continue
        config: dict[str, Any] = yaml.safe_load(file.read_text()) or {}
        for context in config.get("contexts") or ():
            if context.get("name") == config.get("current-context"):
                return str((context.get("context") or {}).get("namespace") or "default")
    return "default"


async def authorization(configuration: Configuration) -> dict[str, str]:
    """Return the header that logs in, read anew when the token has turned."""
    auth: Any = await configuration.auth_settings()
    token = auth.get("BearerToken", {}).get("value")
    if token:
        return {"Authorization": token}
    if configuration.username and configuration.password:
        return {"Authorization": aiohttp.encode_basic_auth(configuration.username, configuration.password)}
    return {}


def open_session(configuration: Configuration, **more: Any) -> aiohttp.ClientSession:
    """Return a session with the certificates, proxies and pool of the official client; `more`: for ClientSession."""
    certificates = RESTClientObject(configuration).ssl_context
    connector = aiohttp.TCPConnector(limit=configuration.connection_pool_maxsize, ssl=certificates)
    # 没有代理，就不必每个请求都去翻环境变量和 netrc
    proxied = bool(getproxies_environment()) and not bypasses_proxies(str(configuration.host))
    return aiohttp.ClientSession(connector=connector, trust_env=proxied, read_bufsize=READ_BUFFER, **more)


def bypasses_proxies(url: str) -> bool:
    """Say whether NO_PROXY has a network that the address in a URL is in: Python's own reading of it knows names only."""
    try:
        address = ip_address(urlsplit(url).hostname or "")
    except ValueError:
        return False
    return any(address in network for network in _networks(os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""))


def _networks(text: str) -> Iterator[IPv4Network | IPv6Network]:
    for each in text.split(","):
        with suppress(ValueError):  # 名字、后缀、星号：那些 aiohttp 自己会看
            yield ip_network(each.strip(), strict=False)
