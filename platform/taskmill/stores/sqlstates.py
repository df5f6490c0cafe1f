"""What PostgreSQL's error codes mean: one table of SQLSTATEs (whole or by class) and of what the caller is told.

The server's faults are answered with 503 and are worth another try: loops wait and go on once they are mended. What a
user's data caused is answered with 422. Codes that are not in the table are our bugs.

| purpose of the statement | 57014 "cancelled" means |
|---|---|
| a list, which has a time limit of its own (`lists.page.bounded`) | the filter is too broad: 422 |
| all others | an administrator, a role's `statement_timeout`: 503 |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import asyncpg

from taskmill import reasons
from taskmill.errors import Code, InputError, SetupError, TaskmillError, UnavailableError
from taskmill.words import Words

DATABASE_URL: Final = "TASKMILL_DATABASE_URL"
CANCELLED: Final = "57014"
STARTUP_REFUSED: Final = ("22", "42", "08P01")  # 建立连接时：地址里的参数不对
# 服务器这边的故障，循环都该等它好；与下表一致由测试保证
SERVER_FAULTS: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.FeatureNotSupportedError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.TransactionRollbackError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedTableError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresSystemError,
    asyncpg.SnapshotTooOldError,
    asyncpg.ConfigFileError,
    asyncpg.InternalServerError,
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """The answer to one SQLSTATE. `hopeless`: a program that has only just started need not wait for it to change."""

    code: Code
    reason: Words
    hopeless: bool = False

    def error(self, words: str) -> TaskmillError:
        """Return the error, with the server's own words in its reason."""
        reason = self.reason(words=words)
        if self.code is Code.INVALID_REQUEST:
            return InputError(self.code, field="request", reason=reason)
        if self.code is Code.SCHEMA_BEHIND:
            return SetupError(self.code, found=words, expected="taskmill migrate up")
        if self.code is Code.DATABASE_RIGHTS:
            return SetupError(self.code, reason=reason)
        return UnavailableError(self.code, reason=reason)


def _away(reason: Words, *, hopeless: bool = False) -> Meaning:
    return Meaning(Code.DATABASE_UNAVAILABLE, reason, hopeless)


_UNFIT = Meaning(Code.INVALID_REQUEST, reasons.SAID)
_UNMIGRATED = Meaning(Code.SCHEMA_BEHIND, reasons.SAID)
MEANINGS: Final[dict[str, Meaning]] = {
    "08": _away(reasons.SAID),  # 连接
    "0A": _away(reasons.STALE_STATEMENT),  # 缓存的计划在表结构变化之后作废
    "22": _UNFIT,
    "25006": _away(reasons.READ_ONLY),
    "25P03": _away(reasons.STOPPED),  # idle_in_transaction_session_timeout
    "25P04": _away(reasons.STOPPED),  # transaction_timeout
    "26": _away(reasons.STALE_STATEMENT),  # 事务级连接池后面的预备语句
    "28": _away(reasons.AUTHENTICATION, hopeless=True),
    "3D": _away(reasons.NO_DATABASE, hopeless=True),
    "3F": _UNMIGRATED,
    "40": _away(reasons.CONFLICT),  # 死锁、串行化：已经重试过
    "42501": Meaning(Code.DATABASE_RIGHTS, reasons.SAID, hopeless=True),
    "42703": _UNMIGRATED,
    "42883": _UNMIGRATED,
    "42P01": _UNMIGRATED,
    "53": _away(reasons.SHORT),  # 磁盘、内存、连接数
    "54": _UNFIT,
    "55": _away(reasons.LOCKED),
    "57": _away(reasons.STOPPED),
    "58": _away(reasons.BROKEN),
    "72": _away(reasons.STOPPED),
    "F0": _away(reasons.BROKEN),
    "XX": _away(reasons.BROKEN),
}
_NO_PARTITION = _away(reasons.NO_PARTITION)


def state(error: BaseException) -> str:
    """Return the SQLSTATE of an error of asyncpg, empty if it has none."""
    return getattr(error, "sqlstate", None) or ""


def meaning(error: BaseException) -> Meaning | None:
    """Return the row of the table for an error of PostgreSQL, None if it has none."""
    if isinstance(error, asyncpg.CheckViolationError) and getattr(error, "constraint_name", None) is None:
        return _NO_PARTITION  # 23514 而没有约束名：没有可放的分区，等分区补上
    code = state(error)
    return MEANINGS.get(code) or MEANINGS.get(code[:2])


def coded(error: BaseException) -> TaskmillError | None:
    """Return what an error of asyncpg stands for, None if it is a bug or none of asyncpg's."""
    words = str(error) or type(error).__name__
    if isinstance(error, asyncpg.ClientConfigurationError) or _refused_at_start(error):
        return SetupError(Code.CONFIG_INVALID, field=DATABASE_URL, reason=words)
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):  # 驱动自己发现值不合类型
        return InputError(Code.INVALID_REQUEST, field="request", reason=words)
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return UnavailableError(Code.DATABASE_UNAVAILABLE, reason=words)
    found = meaning(error)
    return None if found is None else found.error(words)


def _refused_at_start(error: BaseException) -> bool:
    """登录阶段的 FATAL：地址里有服务器不认识的参数，或它的值不对。"""
    return getattr(error, "severity_en", None) == "FATAL" and state(error).startswith(STARTUP_REFUSED)
