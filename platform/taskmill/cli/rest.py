"""The command line's way to the API: where it is, with which key, and its answers as data or errors.

Where: `--url`, TASKMILL_API_URL, else `.taskmill/run.json` of a running `taskmill dev`, found upwards from the working
directory, else this machine's default port. The key likewise: `--token`, TASKMILL_API_TOKEN, `run.json`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import rich_click as click

from taskmill import constants as c
from taskmill.cli import constants as cc
from taskmill.cli import phrases
from taskmill.cli.failure import OptionError, RemoteError, named, typed
from taskmill.cli.run_json import find_running
from taskmill.errors import Code, UnavailableError
from taskmill.strict_json import Encoder, NotJsonError
from taskmill.words import Words

if TYPE_CHECKING:
    import httpx2

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ENCODER = Encoder()


@dataclass(frozen=True, slots=True)
class Target:
    """Where the API is and the key for it (None: send none). `guessed`: nothing says so, it is only the usual port."""

    url: str
    token: str | None
    guessed: bool = field(default=False, compare=False)


def find_target(url: str | None, token: str | None, start: Path) -> Target:
    """Return where to call; `run.json` is asked only if no URL is given, so that its token goes nowhere else."""
    if url is not None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise OptionError(Code.USAGE, reason=phrases.NOT_AN_HTTP_URL(value=url))
        return Target(url.rstrip("/"), token)
    found = find_running(start)
    if found is not None:
        return Target(found.api_url, token or found.token)
    return Target(f"http://127.0.0.1:{c.API_PORT}", token, guessed=True)


def _content(body: object) -> dict[str, Any]:
    """自己编码：命令行的字节不是 UTF-8 时说得清楚，而不是一串调用栈。"""
    try:
        return {"content": _ENCODER.encode(body), "headers": {"Content-Type": "application/json"}}
    except NotJsonError as error:
        raise OptionError(Code.USAGE, reason=error.words) from error


class Api:
    """One connection to the API; answers are the envelope's `data`. `find` says where it is, if it may have moved.

    `names` holds what a person types for the fields of the API that the command's parameters do not share their name with.
    """

    def __init__(self, target: Target, find: Callable[[], Target] | None = None) -> None:
        self.url = target.url
        self.names: dict[str, str] = {}
        self._target = target
        self._find = find or (lambda: target)
        self._client: httpx2.Client | None = None

    def moved(self) -> bool:
        """Say whether the API is to be found elsewhere or with another key by now: `taskmill dev` was started again."""
        return self._newest() != self._target

    def find_again(self) -> None:
        """Look anew for where the API is."""
        if self.moved():
            self._target = self._newest()
            self.url, self._client = self._target.url, None

    def _newest(self) -> Target:
        """正在重启的开发环境没有 run.json：那时在通常的端口上答话的是别人，不跟过去。"""
        found = self._find()
        return self._target if found.guessed else found

    def get(self, path: str, **query: object) -> Any:
        """Read; `path` is below the prefix, arguments that are None are left out. Errors as in `call`."""
        return self.call("GET", path, query=query)

    def post(self, path: str, body: object = None) -> Any:
        """Act; `body` None sends none. Errors as in `call`."""
        return self.call("POST", path, body=body)

    def call(self, method: str, path: str, *, query: Mapping[str, object] | None = None, body: object = None) -> Any:
        """Return the data of one call.

        Raises RemoteError with what the API says, UnavailableError API_UNREACHABLE if nothing sensible answers.
        """
        import httpx2

        given = {name: str(value) for name, value in (query or {}).items() if value is not None}
        content = {} if body is None else _content(body)
        try:
            answer = self._connected().request(method, f"{c.API_PREFIX}{path}", params=given, **content)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._unreachable(str(error) or type(error).__name__) from error
        with named(typed() | self.names):
            return self._data(answer)

    def _connected(self) -> httpx2.Client:
        import httpx2

        if self._client is None:
            headers = {"Authorization": f"Bearer {self._target.token}"} if self._target.token else {}
            self._client = httpx2.Client(
                base_url=self.url,
                headers=headers,
                timeout=httpx2.Timeout(cc.CLI_TIMEOUT_S, connect=c.CONNECT_TIMEOUT_S),
                # 本机不走代理
                trust_env=urlsplit(self.url).hostname not in LOOPBACK,
            )
        return self._client

    def _data(self, answer: httpx2.Response) -> Any:
        try:
            envelope = answer.json()
            code = envelope["code"]
        except (ValueError, KeyError, TypeError) as error:
            raise self._unreachable(phrases.NOT_TASKMILL(status=answer.status_code)) from error
        if not answer.is_success:
            raise RemoteError(answer.status_code, envelope)
        return envelope["data"] if code == "OK" else envelope

    def _unreachable(self, reason: str | Words) -> UnavailableError:
        return UnavailableError(Code.API_UNREACHABLE, url=self.url, reason=reason)


def segment(text: str) -> str:
    """Return a name as one part of a path."""
    if text in {"", ".", ".."}:
        raise OptionError(Code.USAGE, reason=phrases.NOT_A_NAME(value=repr(text)))
    return quote(text, safe="")


def remote(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--url` and `--token`, and an `Api` as its first argument."""

    @click.option("--url", envvar="TASKMILL_API_URL", metavar="URL", help="Where the API is.")
    @click.option("--token", envvar="TASKMILL_API_TOKEN", metavar="KEY", help="API key; better given by TASKMILL_API_TOKEN.")
    @functools.wraps(command)
    def wrapped(*args: Any, url: str | None, token: str | None, **options: Any) -> None:
        find = functools.partial(find_target, url or None, token or None, Path.cwd())
        command(Api(find(), find), *args, **options)

    return wrapped


def paged(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--page` and `--page-size`."""
    page = click.option("--page", type=click.IntRange(min=1), default=None, help="Page number, from 1.")
    size = click.option(
        "--page-size",
        type=click.IntRange(1, c.PAGE_SIZE_MAX),
        default=None,
        help=f"Items per page, {c.PAGE_SIZE_DEFAULT} unless told.",
    )
    return page(size(command))
