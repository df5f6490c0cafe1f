"""`kubectl logs` and `helm test --logs`: the part of a kubelet's HTTPS server that hands out container logs."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from aiohttp import web

FOLLOW_S = 0.2
DAYS = "30"


class LogServer:
    """`folder(namespace, pod)` says where the logs of a pod are, `writing` whether its container still runs."""

    def __init__(
        self, root: Path, host: str, folder: Callable[[str, str], Path], writing: Callable[[str, str, str], bool]
    ) -> None:
        self._root = root
        self._host = host
        self._folder = folder
        self._writing = writing
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port; the API server doesn't check the certificate."""
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0)
        await self._runner.setup()
        context = await asyncio.to_thread(certificate, self._root)
        site = web.TCPSite(self._runner, self._host, 0, ssl_context=context)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        namespace, pod = request.match_info["namespace"], request.match_info["pod"]
        try:
            file = self._folder(namespace, pod) / f"{request.match_info['container']}.log"
        except KeyError:
            return web.Response(status=404, text="no such pod\n")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with suppress(ConnectionResetError):  # kubectl logs -f 被 Ctrl-C
            await self._send(request, response, file)
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse, file: Path) -> None:
        follow = request.query.get("follow", "") in ("1", "true")
        data = file.read_bytes() if file.exists() else b""
        sent = len(data)
        if (tail := int(request.query.get("tailLines", -1))) >= 0:
            data = b"".join(data.splitlines(keepends=True)[-tail:]) if tail else b""
        await response.write(data)
        while follow:
            more = self._writing(*(request.match_info[part] for part in ("namespace", "pod", "container")))
            data = file.read_bytes()[sent:] if file.exists() else b""
            sent += len(data)
            await response.write(data)
            if not more:
                break
            await asyncio.sleep(FOLLOW_S)
        await response.write_eof()


def certificate(root: Path) -> ssl.SSLContext:
    """Return a context with a self-signed certificate."""
    key, cert = root / "kubelet.key", root / "kubelet.crt"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    name = ["-subj", "/CN=kubelet", "-days", DAYS]
    subprocess.run(
        ["openssl", "req", "-x509", *curve, *name, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context
