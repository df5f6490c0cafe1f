"""Writes header values that say exactly what they should, whatever the texts hold.

The standard library interprets encoded words (`=?utf-8?q?…?=`) inside the texts that it is given, and up to CPython
3.11.9 and 3.12.4 writes the line breaks that it finds in them into the mail. Here every text that is not plain ASCII,
or could be read as an encoded word, is encoded as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.header import Header
from email.headerregistry import Address

from taskmill_email import config as limits

_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")  # 可见的 ASCII，单个空格分隔：收信方不会改动
_ENCODED = "=?"
_FOLD = "\r\n "


def text(value: str, header: str) -> str:
    """Return `value` for the header of that name: as it is, or as encoded words on lines of at most 76 characters."""
    fits = len(header) + 2 + len(value) <= limits.LINE_MAX_CHARS
    if not value or (fits and _ENCODED not in value and _PLAIN.fullmatch(value)):
        return value
    return Header(value, charset="utf-8", header_name=header, maxlinelen=limits.LINE_MAX_CHARS).encode(linesep="\r\n")


def mailboxes(values: Sequence[Address], header: str) -> str:
    """Return a list of addresses for the header of that name, each on a line of its own."""
    return f",{_FOLD}".join(_mailbox(value, header) for value in values)


def _mailbox(value: Address, header: str) -> str:
    name, spec = value.display_name, f"<{value.addr_spec}>"
    if not name:
        return value.addr_spec
    shown = text(name, header)
    if shown == name:
        shown = str(Address(display_name=name)).removesuffix(" <>")  # 有标点就加引号："Smith, Jan"
    fits = len(header) + len(shown.rpartition("\n")[2]) + len(spec) + 4 <= limits.LINE_MAX_CHARS
    return f"{shown}{' ' if fits else _FOLD}{spec}"
