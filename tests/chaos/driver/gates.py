"""TCP gates between roles and servers, on an event loop in a thread of their own.

Each gate is a port of its own with a target that can be changed. What it can do to connections:

| mode | connections that exist | new ones |
|---|---|---|
| open | forwarded | forwarded |
| frozen | nothing moves; all is delivered once the gate is open again | accepted, nothing moves |
| hole | whatever is sent is lost and nobody is told, for ever | accepted, never answered |

`half_open` loses what exists like a hole does, while new connections work; `reset` cuts with RST; `delay_s` holds every
piece back; `lose` cuts the next connections whose answer says that a transaction was committed, before the answer arrives.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop

from tests.support.proxy import COMMITTED

WAIT_S = 30.0
RST = struct.pack("ii", 1, 0)


class End(asyncio.Protocol):
    """One side of a connection through a gate."""

    def __init__(self, gate: Gate, *, answers: bool) -> None:
        self.gate, self.answers = gate, answers
        self.transport: asyncio.Transport | None = None
        self.other: End | None = None
        self.dead = self.shut = False
        self.kept: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.gate.ends.add(self)
        if not self.answers:
            self.gate.connect(self)

    def data_received(self, data: bytes) -> None:
        if self.dead:
            return
        if self.gate.mode == "frozen" or self.other is None:
            self.kept.append(data)
        elif self.gate.delay_s or self.kept:
            self.kept.append(data)  # 先来的先走：还有压着的，后来的就不能超前
            asyncio.get_running_loop().call_later(self.gate.delay_s, self.release)
        else:
            self.forward(data)

    def release(self) -> None:
        """Hand on the oldest piece that was held back."""
        if self.kept and self.gate.mode != "frozen":
            self.forward(self.kept.pop(0))

    def forward(self, data: bytes) -> None:
        """Hand on what this side sent, unless the other has gone."""
        if self.dead or self.other is None or self.other.transport is None or self.other.transport.is_closing():
            return
        if self.answers and self.gate.loses(data):
            self.cut()
        else:
            self.other.transport.write(data)

    def thaw(self) -> None:
        """Deliver what was kept."""
        kept, self.kept = self.kept, []
        for data in kept:
            self.forward(data)
        if self.shut:
            self.gate.ends.discard(self)
            self.close_other()

    def connection_lost(self, exc: Exception | None) -> None:
        self.shut = True
        if self.gate.mode == "frozen" and not self.dead:
            return  # 对面要到解冻之后才知道
        self.gate.ends.discard(self)
        if not self.dead:
            self.close_other()

    def close_other(self) -> None:
        """Tell the other side that this one is gone."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def cut(self) -> None:
        """Reset both sides."""
        for end in (self, self.other):
            if end is not None and end.transport is not None:
                found = end.transport.get_extra_info("socket")
                if found is not None:
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
                end.transport.abort()


class Gate:
    """One port. Only the loop of `Gates` touches it."""

    def __init__(self, name: str, target: tuple[str, int]) -> None:
        self.name, self.target = name, target
        self.mode = "open"
        self.delay_s = 0.0
        self.left = 0
        self.ends: set[End] = set()
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def connect(self, end: End) -> None:
        """Open the far side of a new connection, unless the gate is a hole."""
        if self.mode == "hole":
            end.dead = True
            return
        task = asyncio.create_task(self._connect(end))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, end: End) -> None:
        try:
            _, far = await asyncio.get_running_loop().create_connection(lambda: End(self, answers=True), *self.target)
        except OSError:
            end.cut()
            return
        end.other, far.other = far, end
        far.dead = end.dead
        if end.shut:
            end.close_other()
        elif self.mode == "open":
            end.thaw()

    def loses(self, data: bytes) -> bool:
        """Say whether this answer is one of those that get lost."""
        if self.left == 0 or not COMMITTED.search(data):
            return False
        self.left -= 1
        return True

    def bury(self) -> None:
        """Lose everything that existing connections send from now on, and tell nobody."""
        for end in self.ends:
            end.dead = True

    def reset(self) -> None:
        """Cut every connection."""
        for end in list(self.ends):
            end.cut()

    def sweep(self) -> None:
        """Close the far sides of dead connections, as a server's keepalive does in the end."""
        for end in list(self.ends):
            if end.dead and end.answers and end.transport is not None:
                end.transport.abort()

    def open(self) -> None:
        """End every fault but the deadness of connections that were lost."""
        self.mode, self.delay_s, self.left = "open", 0.0, 0
        for end in list(self.ends):
            if not end.dead:
                end.thaw()


class Gates:
    """All gates. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._gates: dict[str, Gate] = {}
        self._servers: list[asyncio.Server] = []
        threading.Thread(target=self._loop.run_forever, name="gates", daemon=True).start()

    def add(self, name: str, url: str) -> str:
        """Put a gate before the server of `url`; returns the URL that leads through it."""
        parts = urlsplit(url)
        gate = Gate(name, (parts.hostname or "", parts.port or 0))
        asyncio.run_coroutine_threadsafe(self._listen(gate), self._loop).result(WAIT_S)
        self._gates[name] = gate
        return parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{gate.port}")).geturl()

    async def _listen(self, gate: Gate) -> None:
        server = await asyncio.get_running_loop().create_server(
            lambda: End(gate, answers=False), "127.0.0.1", 0, backlog=256
        )
        gate.port = server.sockets[0].getsockname()[1]
        self._servers.append(server)

    def names(self, server: str, role: str = "") -> list[str]:
        """Return the gates to `server` of one role, or of all."""
        return [name for name in self._gates if name.endswith(f">{server}") and name.startswith(role)]

    def _each(self, names: list[str], work: Callable[[Gate], Any]) -> None:
        async def all_of_them() -> None:
            for name in names:
                work(self._gates[name])

        asyncio.run_coroutine_threadsafe(all_of_them(), self._loop).result(WAIT_S)

    def half_open(self, names: list[str]) -> None:
        """Lose all connections that exist without closing them."""
        self._each(names, Gate.bury)

    def hole(self, names: list[str]) -> None:
        """Lose everything, and answer no new connection."""

        def work(gate: Gate) -> None:
            gate.mode = "hole"
            gate.bury()

        self._each(names, work)

    def freeze(self, names: list[str]) -> None:
        """Hold everything back until the gate is opened."""
        self._each(names, lambda gate: setattr(gate, "mode", "frozen"))

    def delay(self, names: list[str], seconds: float) -> None:
        """Hold every piece back for so long."""
        self._each(names, lambda gate: setattr(gate, "delay_s", seconds))

    def lose(self, names: list[str], times: int) -> None:
        """Lose so many answers to a COMMIT, at each gate."""
        self._each(names, lambda gate: setattr(gate, "left", times))

    def reset(self, names: list[str]) -> None:
        """Cut all connections."""
        self._each(names, Gate.reset)

    def open(self, names: list[str]) -> None:
        """Forward again."""
        self._each(names, Gate.open)

    def sweep(self) -> None:
        """Let the servers notice which connections are dead."""
        self._each(list(self._gates), Gate.sweep)

    def lead(self, names: list[str], url: str) -> None:
        """Lead new connections to another server."""
        parts = urlsplit(url)
        self._each(names, lambda gate: setattr(gate, "target", (parts.hostname or "", parts.port or 0)))
