"""Settings of the plugin, `TASKMILL_PLUGIN_EMAIL_*`, and its limits."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from taskmill.errors import UnfitError
from taskmill.plugin import Secret
from taskmill_email import reasons

PORTS: Final = {"none": 25, "starttls": 587, "tls": 465}  # RFC 5321、6409、8314
TIMEOUT_DEFAULT_S: Final = 30.0  # 每条 SMTP 命令
TASK_TIMEOUT_S: Final = 300.0  # 连接、认证、正文合计
RECIPIENTS_MAX: Final = 50
SUBJECT_MAX_CHARS: Final = 500
ADDRESS_MAX_CHARS: Final = 1_000  # 名字连同地址；邮箱本身最长 254（RFC 5321）
LOCAL_MAX_CHARS: Final = 64  # RFC 5321，4.5.3.1
DOMAIN_MAX_CHARS: Final = 253
LINE_MAX_CHARS: Final = 76  # 编码字一行的上限（RFC 2047）
ANSWER_MAX_BYTES: Final = 4 * 1024  # 结果与失败原因里，服务器的一个应答最多留这么多
QUIT_TIMEOUT_S: Final = 2.0  # 邮件已经交出，告别不值得久等
MESSAGE_MAX_BYTES: Final = 10 * 1024 * 1024  # 常见邮件服务器的上限


class EmailConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The server and the identity that mails are sent with; `port` 0 is the usual one for `tls`."""

    host: str = ""
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    tls: Literal["none", "starttls", "tls"] = "starttls"
    ca_file: Path | None = None
    username: str = ""
    password: Secret = Secret("")
    sender: str = ""
    allowed_senders: list[str] = []
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=TASK_TIMEOUT_S)] = TIMEOUT_DEFAULT_S
    max_recipients: Annotated[int, msgspec.Meta(ge=1)] = RECIPIENTS_MAX
    max_bytes: Annotated[int, msgspec.Meta(ge=1_024)] = MESSAGE_MAX_BYTES

    def __post_init__(self) -> None:
        if self.tls == "none" and self.username:
            raise UnfitError(reasons.CREDENTIALS_NEED_TLS)
        if bool(self.username) != bool(self.password):
            raise UnfitError(reasons.USERNAME_AND_PASSWORD)

    def tls_context(self) -> ssl.SSLContext | None:
        """Return the context that verifies the server, or None without TLS. OSError if `ca_file` cannot be read."""
        return None if self.tls == "none" else ssl.create_default_context(cafile=self.ca_file)
