"""Secrets and ConfigMaps as a pod reads them: always fresh from the API server."""

from __future__ import annotations

import base64

import aiohttp

from tests.cluster.kubelet.api import Api, ApiError, Json

HTTP_NOT_FOUND = 404


class ConfigError(Exception):
    """A container cannot be made now (CreateContainerConfigError); it is tried again."""


class References:
    """Reads what the pods of one namespace refer to."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    async def data(self, plural: str, name: str, *, optional: bool) -> dict[str, bytes] | None:
        """Return the content of a Secret (`secrets`) or ConfigMap (`configmaps`), None if it may be missing and is.

        Raises ConfigError if it is missing.
        """
        try:
            found = await self.api.get(f"/api/v1/namespaces/{self.namespace}/{plural}/{name}")
        except ApiError as error:
            if error.status != HTTP_NOT_FOUND:
                raise ConfigError(str(error)) from error
            if optional:
                return None
            raise ConfigError(f'{plural.removesuffix("s")} "{name}" not found') from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:  # API 服务器不在，等它回来
            raise ConfigError(str(error)) from error
        return decoded(plural, found)

    async def key(self, plural: str, reference: Json) -> str | None:
        """Return one value, None if it may be missing and is; raises ConfigError."""
        name, key, optional = reference.get("name", ""), reference["key"], bool(reference.get("optional"))
        data = await self.data(plural, name, optional=optional)
        if data is None:
            return None
        if key not in data:
            if optional:
                return None
            raise ConfigError(f"couldn't find key {key} in {plural} {self.namespace}/{name}")
        return data[key].decode()


def decoded(plural: str, item: Json) -> dict[str, bytes]:
    """Return the content of a Secret or ConfigMap as bytes."""
    values: dict[str, str] = item.get("data") or {}
    if plural == "secrets":
        return {key: base64.b64decode(value) for key, value in values.items()}
    binary = {key: base64.b64decode(value) for key, value in (item.get("binaryData") or {}).items()}
    return {**{key: value.encode() for key, value in values.items()}, **binary}
