"""Reading forms: small, URL-encoded, and nothing else."""

from __future__ import annotations

from urllib.parse import parse_qs

from taskmill.dashboard import constants as dc
from taskmill.dashboard.visit import Visit
from taskmill.errors import Code, InputError, LimitError

ENCODED = "application/x-www-form-urlencoded"


async def read(request: Visit, limit: int = dc.FORM_MAX_BYTES) -> dict[str, list[str]]:
    """Return the fields of a form that are not empty; LimitError BODY_TOO_LARGE, InputError UNSUPPORTED_MEDIA_TYPE."""
    given = request.headers.get("content-type", "")
    if given and given.partition(";")[0].strip().lower() != ENCODED:
        raise InputError(Code.UNSUPPORTED_MEDIA_TYPE, content_type=given)
    found = b""
    async for chunk in request.stream():
        found += chunk
        if len(found) > limit:
            raise LimitError(Code.BODY_TOO_LARGE, limit=limit)
    return parse_qs(found.decode(errors="replace"), errors="replace")


def one(form: dict[str, list[str]], name: str) -> str:
    """Return the first value of a field, empty without it."""
    return form.get(name, [""])[0]
