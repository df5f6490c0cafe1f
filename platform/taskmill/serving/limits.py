"""What a client may cost before it is known who it is: sizes, times, connections."""

from __future__ import annotations

import resource
from dataclasses import dataclass

from taskmill import constants as c
from taskmill.serving import constants as hc
from taskmill.settings import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one listener; sizes in bytes, times in seconds, `body_rate` in bytes per second."""

    header_bytes: int = c.HTTP_HEADER_MAX_BYTES
    headers: int = c.HTTP_HEADERS_MAX
    heads_bytes: int = c.HTTP_HEADS_MAX_BYTES
    url_bytes: int = c.HTTP_URL_MAX_BYTES
    header_s: float = c.HTTP_HEADER_TIMEOUT_S
    body_s: float = c.HTTP_BODY_TIMEOUT_S
    body_rate: int = c.HTTP_BODY_MIN_RATE
    keep_alive_s: int = c.HTTP_KEEP_ALIVE_S
    connections: int = c.HTTP_CONNECTIONS_MAX

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return what the settings say."""
        return cls(
            header_bytes=settings.api_header_max_bytes,
            headers=settings.api_headers_max,
            heads_bytes=settings.api_heads_max_bytes,
            url_bytes=settings.api_url_max_bytes,
            header_s=settings.api_header_timeout_s,
            body_s=settings.api_body_timeout_s,
            body_rate=settings.api_body_min_rate,
            keep_alive_s=settings.api_keep_alive_s,
            connections=settings.api_connections_max,
        )


def fit(wanted: int) -> int:
    """Return how many connections the process can hold: the limit of descriptors is raised as far as it may be.

    Some descriptors stay free for the servers behind us, for logs and for connections that are just being refused.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + hc.DESCRIPTORS_RESERVED
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if raised > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return max(c.HTTP_CONNECTIONS_MIN, min(wanted, raised - hc.DESCRIPTORS_RESERVED))
