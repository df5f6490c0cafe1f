"""Args and result of `http.request`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from taskmill.errors import UnfitError
from taskmill_http import config as limits
from taskmill_http import reasons

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class HttpRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One request. `json` or `body`, not both; a header value `secret:NAME` is filled in from the configuration.

    `expected_status` empty means 200 to 299; `timeout_s` seconds for the whole exchange; of the answer the first
    `max_response_bytes` bytes are kept.
    """

    url: Annotated[str, msgspec.Meta(min_length=1, max_length=8_192)]
    method: Method = "GET"
    headers: dict[str, str] = {}
    json: Any = msgspec.UNSET
    body: str | None = None
    expected_status: list[Annotated[int, msgspec.Meta(ge=100, le=599)]] = []
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] = limits.TIMEOUT_DEFAULT_S
    max_response_bytes: Annotated[int, msgspec.Meta(ge=0)] = limits.RESPONSE_DEFAULT_BYTES

    def __post_init__(self) -> None:
        if self.json is not msgspec.UNSET and self.body is not None:
            raise UnfitError(reasons.JSON_OR_BODY)

    def expects(self, status: int) -> bool:
        """Say whether `status` means success."""
        return status in self.expected_status if self.expected_status else 200 <= status < 300  # noqa: PLR2004


class HttpResponse(msgspec.Struct, kw_only=True):
    """The answer: `url` after redirects, a few headers, the text cut to the limit, `elapsed_ms` milliseconds.

    `incomplete` says why the body could not be read to its end or not be unpacked; empty otherwise. A body in an
    encoding that was not asked for (br, zstd) is kept as base64.
    """

    status: int
    url: str
    headers: dict[str, str]
    body: str
    truncated: bool
    elapsed_ms: int
    incomplete: str = ""
    body_encoding: Literal["text", "base64"] = "text"
