"""Passwords of the embedded servers: made once per data folder, kept in a file for its owner only."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAME = "password"
OWNER_ONLY = 0o600
BYTES = 32
# 密码是 256 位随机数，猜不出来，多次散列没有意义，却要让每个连接多花十毫秒
ITERATIONS = 1


def read(folder: Path) -> str | None:
    """Return the password of a data folder, None if none was made."""
    try:
        return (folder / NAME).read_text().strip() or None
    except FileNotFoundError:
        return None


def new() -> str:
    """Return a fresh password that needs no quoting anywhere."""
    return secrets.token_hex(BYTES)


def write(folder: Path, password: str) -> None:
    """Keep a password; complete or not at all, and never readable by others."""
    write_private(folder / NAME, f"{password}\n")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first moment on."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "w") as file:
        file.write(text)
    fresh.replace(path)


def scram(password: str) -> str:
    """Return what PostgreSQL stores for a password (RFC 5803), so that the password itself never reaches a command line."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    text = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(ITERATIONS, *text)
