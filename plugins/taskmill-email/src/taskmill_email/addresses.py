"""Reads one mail address as people write it, strictly: what is not plainly one address is refused."""

from __future__ import annotations

import re
from email.headerregistry import Address
from unicodedata import category

import idna

from taskmill import Discard
from taskmill_email import config as limits
from taskmill_email import reasons

_WORD = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^"]+)', re.DOTALL)
_SPECIAL = re.compile(r"[,;:<>@\\]")  # 不加引号就不能出现在名字里：那是几个地址或一个组
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*")
_LITERAL = re.compile(r"\[(?:IPv6:)?[0-9A-Fa-f:.]+\]")
_ENCODED = "=?"  # 编码字的开头：在地址里会被收信方再解释一次


def one_line(text: str, field: str) -> str:
    """Return `text`. Discard if it holds control characters, line breaks of any kind or halves of characters."""
    if any(category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in text):
        raise Discard(reasons.CONTROL_CHARACTERS(field=field))
    return text


def parse(text: str) -> Address:
    """Return the address that `text` is: `a@b.example` or `Name <a@b.example>`, its domain in ASCII (IDNA 2008).

    Discard if it is none, or more than one, or longer than any sensible one.
    """
    if len(text) > limits.ADDRESS_MAX_CHARS:  # 先量长度，再做解析
        raise Discard(reasons.ADDRESS_TOO_LONG(limit=limits.ADDRESS_MAX_CHARS, text=repr(text[:40])))
    plain = one_line(text, "address").strip()
    name, mailbox = "", plain
    if plain.endswith(">"):
        before, opening, mailbox = plain[:-1].rpartition("<")
        name = _name(before.strip(), text)
        mailbox = mailbox if opening else ""
    local, _, domain = mailbox.rpartition("@")
    if len(local) > limits.LOCAL_MAX_CHARS or _LOCAL.fullmatch(local) is None or _ENCODED in local:
        raise _refused(text)
    return Address(display_name=name, username=local, domain=_ascii(domain, text))


def _name(text: str, whole: str) -> str:
    """名字是一串词，带引号或不带；引号之外的标点说明写的不止一个地址。"""
    words: list[str] = []
    position = 0
    while position < len(text):
        match = _WORD.match(text, position)
        if match is None or _SPECIAL.search(match["plain"] or ""):
            raise _refused(whole)
        words.append(re.sub(r"\\(.)", r"\1", match["quoted"]) if match["plain"] is None else match["plain"])
        position = match.end()
    return " ".join("".join(words).split())


def _ascii(domain: str, whole: str) -> str:
    """IDNA 2008，不做过渡映射：straße.de 与 strasse.de 是两个域名。"""
    if _LITERAL.fullmatch(domain):
        return domain
    try:
        host = domain.lower() if domain.isascii() else idna.encode(domain, uts46=True, transitional=False).decode()
    except (idna.IDNAError, UnicodeError) as error:
        raise _refused(whole) from error
    if len(host) > limits.DOMAIN_MAX_CHARS or _HOST.fullmatch(host) is None:
        raise _refused(whole)
    return host


def _refused(text: str) -> Discard:
    return Discard(reasons.NOT_ONE_ADDRESS(text=repr(text)))
