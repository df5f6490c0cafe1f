"""Broker URLs, tried on the driver: what it does not know would only show at the first command, as a bug."""

from __future__ import annotations

from redis.asyncio import ConnectionPool

from taskmill.errors import Code, SetupError
from taskmill.urls import UrlError, check_broker_url

BROKER_URL = "TASKMILL_BROKER_URL"


def check_broker(url: str) -> None:
    """Raise SetupError CONFIG_INVALID unless the driver can use the URL, its parameters included; connects nowhere."""
    try:
        check_broker_url(url)
        ConnectionPool.from_url(url).make_connection()
    except UrlError as error:
        raise SetupError(Code.CONFIG_INVALID, field=BROKER_URL, reason=error.reason) from None
    except (TypeError, ValueError, AttributeError) as error:  # 驱动不认识的参数，或它的值不对
        raise SetupError(Code.CONFIG_INVALID, field=BROKER_URL, reason=str(error)) from None
