"""Which way requests go to the API server: past the proxy where NO_PROXY says so, networks included."""

from __future__ import annotations

import pytest
from kubernetes.aio.client.configuration import Configuration

from taskmill.kube.apiserver.access import open_session

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("host", "no_proxy", "direct"),
    [
        ("https://10.96.0.1:443", "127.0.0.0/8, 10.0.0.0/8,.svc", True),
        ("https://10.96.0.1:443", "10.96.0.1/12", True),
        ("https://10.96.0.1:443", "192.168.0.0/16,.svc,*.local", False),
        ("https://[fd00::1]:443", "10.0.0.0/8,fd00::/8", True),
        ("https://[fd00::1]:443", "10.0.0.0/8", False),
        ("https://api.example:6443", "10.0.0.0/8", False),
    ],
)
async def test_networks_in_no_proxy_are_honoured(
    monkeypatch: pytest.MonkeyPatch, host: str, no_proxy: str, direct: bool
) -> None:
    for name in ("no_proxy", "https_proxy", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    configuration = Configuration()
    configuration.host = host
    async with open_session(configuration) as session:
        assert session.trust_env is not direct
