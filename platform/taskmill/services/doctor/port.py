"""What `taskmill doctor` says of the API's port: free, held by the API itself, or by somebody else."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket

from taskmill import reasons
from taskmill.services import constants as c
from taskmill.settings import Settings
from taskmill.words import Words

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - 听在所有地址上的，从本机问


async def examine(settings: Settings) -> tuple[bool | None, Words, Words | str]:
    """Return whether the port is well (None: somebody else listens), what was found, and the fix."""
    host, port = settings.api_host, settings.api_port
    problem = _bind(host, port)
    if problem is None:
        return True, reasons.PORT_FREE(host=host, port=port), ""
    if await asyncio.to_thread(_is_api, ANYWHERE.get(host, host), port):
        return True, reasons.PORT_OF_API(host=host, port=port), ""
    return None, reasons.PORT_TAKEN(host=host, port=port, problem=problem), reasons.FIX_PORT


def _bind(host: str, port: int) -> str | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()  # 只绑不听，别人正在听也看不出来
        except OSError as error:
            return error.strerror or str(error)
    return None


def _is_api(host: str, port: int) -> bool:
    """听着的是不是我们的接口：问它活着没有。"""
    connection = http.client.HTTPConnection(host, port, timeout=c.DOCTOR_ASK_S)
    try:
        connection.request("GET", "/healthz")
        body = json.loads(connection.getresponse().read(c.DOCTOR_ANSWER_MAX))
        return body["data"]["alive"] is True and "request_id" in body
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False
    finally:
        connection.close()
