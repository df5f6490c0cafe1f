"""Free TCP ports on the loopback address."""

from __future__ import annotations

import random
import socket

from taskmill.dev import constants
from taskmill.errors import Code, SetupError

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Return whether a server could listen on `port` of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # 与两个服务器一致，不怕 TIME_WAIT
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def require(host: str, port: int, field: str) -> None:
    """Raise SetupError CONFIG_INVALID that names the setting `field` if `port` of `host` cannot be bound now; 0 always can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()  # 只绑不听，别人正在听也看不出来
        except OSError as error:
            raise SetupError(Code.CONFIG_INVALID, field=field, reason=f"{host}:{port}: {error.strerror or error}") from error


def choose(remembered: int | None) -> int:
    """Return `remembered` if it is still free, else a random free port."""
    if remembered is not None and is_free(remembered):
        return remembered
    # 测试会固定全局随机种子，这里必须用系统的随机源，否则并行的进程会挑中同一个端口
    source = random.SystemRandom()
    for _ in range(constants.DEV_PORT_TRIES):
        port = source.randrange(*constants.DEV_PORTS)
        if is_free(port):
            return port
    message = f"no free port in {constants.DEV_PORTS}"
    raise OSError(message)
