"""Args and result of `email.send`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from taskmill.errors import UnfitError
from taskmill_email import config as limits
from taskmill_email import reasons


class Email(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One mail: `text`, `html` or both. Addresses are `a@b.example` or `Name <a@b.example>`.

    `sender` must be one of the configured senders; without it the default one is used.
    """

    to: Annotated[list[str], msgspec.Meta(min_length=1)]
    subject: Annotated[str, msgspec.Meta(max_length=limits.SUBJECT_MAX_CHARS)]
    text: str | None = None
    html: str | None = None
    cc: list[str] = []
    bcc: list[str] = []
    reply_to: str | None = None
    sender: str | None = None

    def __post_init__(self) -> None:
        if self.text is None and self.html is None:
            raise UnfitError(reasons.TEXT_OR_HTML)


class Refusal(msgspec.Struct, kw_only=True):
    """A recipient that the server did not take, while it took others."""

    address: str
    code: int
    message: str


class Sent(msgspec.Struct, kw_only=True):
    """What the server took. `message_id` is the same for every attempt of the task."""

    message_id: str
    accepted: list[str]
    refused: list[Refusal]
    response: str
