"""A visitor of the dashboard without a browser: logs in, reads pages, sends forms as htmx does."""

from __future__ import annotations

import re
from typing import Any

import httpx2
from litestar import Litestar

from taskmill.services.platform import Platform
from tests.support import api

CSRF = re.compile(r'"X-CSRF-Token":"([0-9a-f]{64})"')
PAGES = ("", "tasks", "failures", "queues", "schedules", "workers", "plugins", "system")


class Visitor:
    """One browser. `csrf` is what the last whole page gave."""

    def __init__(self, app: Litestar, *, address: str = "127.0.0.1", lang: str = "en") -> None:
        self.app = app
        self.client = api.client(app, address=address)
        self.client.headers["Accept-Language"] = lang
        self.csrf = ""

    async def login(self, secret: str, **options: Any) -> httpx2.Response:
        """Send the log-in form, and read the token of the first page if it worked."""
        answer = await self.client.post("/dashboard/login", data={"api_key": secret, "next": ""}, **options)
        if answer.status_code == 303:
            await self.get("")
        return answer

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        """Ask for a page; `HX_Request="true"` asks as the page itself."""
        answer = await self.client.get(f"/dashboard/{path}", headers={k.replace("_", "-"): v for k, v in headers.items()})
        if (found := CSRF.search(answer.text)) is not None:
            self.csrf = found[1]
        return answer

    async def post(self, path: str, form: dict[str, Any] | None = None, **headers: str) -> httpx2.Response:
        """Do something, as htmx sends it."""
        given = {"HX-Request": "true", "X-CSRF-Token": self.csrf, "Sec-Fetch-Site": "same-origin", "Taskmill-Base": "../"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(f"/dashboard/{path}", data=form or {}, headers=given)


async def visitor(platform: Platform, app: Litestar, scope: str = "write", **options: Any) -> Visitor:
    """A visitor with a key that may do this."""
    key = await platform.keys.create(f"{scope}-{len(await platform.keys.list())}", [scope])
    found = Visitor(app, **options)
    answer = await found.login(key.secret)
    assert answer.status_code == 303, answer.text
    return found
