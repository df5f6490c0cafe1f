# ruff: noqa: INP001  单个脚本，不是包
"""Asks `/healthz` every 20 ms on new connections until its input ends; `python -m benchmarks.prober PORT` prints JSON.

`late_ms` says by how much its own sleeps were too long: that much of every answer belongs to the crowded machine.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time

from benchmarks.stand import percentiles

EVERY_S = 0.02
TIMEOUT_S = 10.0
ASK = b"GET /healthz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"


def ask(port: int) -> bool:
    """Return whether the probe answered 200."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        connection.sendall(ASK)
        return connection.recv(1024).startswith(b"HTTP/1.1 200")


def main() -> None:
    """Probe until standard input says something."""
    port, over = int(sys.argv[1]), threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
    sys.stdout.write("asking\n")
    sys.stdout.flush()
    took, late, failed = list[float](), list[float](), 0
    while not over.is_set():
        began = time.perf_counter()
        try:
            failed += not ask(port)
        except OSError:
            failed += 1
        ended = time.perf_counter()
        took.append((ended - began) * 1000)
        time.sleep(EVERY_S)
        late.append((time.perf_counter() - ended - EVERY_S) * 1000)
    sys.stdout.write(
        json.dumps({"asked": len(took), "failed": failed, "ms": percentiles(took), "late_ms": percentiles(late)})
    )


if __name__ == "__main__":
    main()
