"""What the plugin says to people, in both languages; facts are filled in: `reasons.NAME(fact=…)`."""

from __future__ import annotations

from typing import Final

from taskmill.plugin import Words

NO_SERVER: Final = Words("没有配置邮件服务器：设置 TASKMILL_PLUGIN_EMAIL_HOST", "no server: set TASKMILL_PLUGIN_EMAIL_HOST")
NO_SERVER_HEALTH: Final = Words("没有配置邮件服务器", "no server configured")
LOGIN_FAILED: Final = Words("登录失败：{code} {answer}", "login failed: {code} {answer}")
CREDENTIALS_NEED_TLS: Final = Words("使用密码必须开启 TLS：tls 或 starttls", "credentials need TLS: tls or starttls")
USERNAME_AND_PASSWORD: Final = Words("username 与 password 要一起给", "give username and password together")
TEXT_OR_HTML: Final = Words("text 与 html 至少给一个", "give text, html or both")
TOO_MANY_RECIPIENTS: Final = Words("收件人超过 {limit} 个", "more than {limit} recipients")
NO_SENDER: Final = Words("没有发件人：设置 TASKMILL_PLUGIN_EMAIL_SENDER", "no sender: set TASKMILL_PLUGIN_EMAIL_SENDER")
SENDER_NOT_ALLOWED: Final = Words("不允许的发件人 {sender}", "sender {sender} is not allowed")
CANNOT_BUILD: Final = Words("邮件无法生成：{error}", "the mail cannot be built: {error}")
NOT_WHAT_WAS_MEANT: Final = Words("邮件读回来与原意不符：{place}", "the mail would not say what was meant: {place}")
TOO_LARGE: Final = Words("邮件超过 {limit} 字节", "the mail is above {limit} bytes")
CONTROL_CHARACTERS: Final = Words("{field} 含控制字符", "{field} contains control characters")
ADDRESS_TOO_LONG: Final = Words("地址超过 {limit} 个字符：{text}", "address above {limit} characters: {text}")
NOT_ONE_ADDRESS: Final = Words("不是单个邮件地址：{text}", "not one address: {text}")
