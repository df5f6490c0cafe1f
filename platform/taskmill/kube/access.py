"""Where the API server is and how to log in: the pod's ServiceAccount, else the kubeconfig."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from taskmill.errors import Code, SetupError

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
        from aiohttp import encode_basic_auth  # noqa: PLC0415 - 少见的登录方式

        return {"Authorization": encode_basic_auth(configuration.username, configuration.password)}
    return {}


async def connection_info() -> Any:
    """Return the same access in kopf's words; read anew whenever kopf has to log in."""
    import kopf  # noqa: PLC0415 - 只有看守线程要它

    configuration = await load_access()
    header = (await authorization(configuration)).get("Authorization", "")
    scheme, _, token = header.partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )
