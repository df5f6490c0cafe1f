"""Who holds a secret: an API key, or on a fresh installation the development token, from this machine only."""

from __future__ import annotations

import hmac
import ipaddress
import secrets

from taskmill import constants as c
from taskmill import reasons
from taskmill.errors import AccessError, Code
from taskmill.services.keys import DEVELOPER, KeyService, Principal

Client = tuple[str, int] | None  # 连接的对端：地址与端口


def new_dev_token() -> str:
    """Make a token for this run of the process. It opens the API from loopback only, and only while no key exists unless in `taskmill dev`."""
    return c.API_KEY_PREFIX + secrets.token_urlsafe(c.API_KEY_BYTES)


class Access:
    """Tells who holds a secret. `beside_keys`: the development token opens although keys exist."""

    def __init__(self, keys: KeyService, dev_token: str | None, *, beside_keys: bool = False) -> None:
        self._keys = keys
        self._beside_keys = beside_keys
        self._dev_token = None if dev_token is None else dev_token.encode()

    async def principal(self, secret: str, client: Client) -> Principal:
        """Return who holds the secret; AccessError UNAUTHORIZED."""
        if self._dev_token is not None and hmac.compare_digest(secret.encode(), self._dev_token):
            return await self.developer(client)
        principal = await self._keys.authenticate(secret)
        if principal is None:
            raise AccessError(Code.UNAUTHORIZED, reason=reasons.KEY_REFUSED)
        return principal

    async def developer(self, client: Client) -> Principal:
        """Return the developer if this process has a development token that opens from there now; AccessError UNAUTHORIZED."""
        if self._dev_token is None:
            raise AccessError(Code.UNAUTHORIZED, reason=reasons.KEYS_EXIST)
        if not is_loopback(client):
            raise AccessError(Code.UNAUTHORIZED, reason=reasons.DEV_LOCAL_ONLY)
        if not self._beside_keys and await self._keys.any_exists():
            raise AccessError(Code.UNAUTHORIZED, reason=reasons.KEYS_EXIST)
        return DEVELOPER


def is_loopback(client: Client) -> bool:
    """Say whether the peer of a connection is this machine."""
    if client is None:
        return False
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
