"""The reasons that errors give, in both languages: what stands behind `details.reason`.

Example: `raise InputError(Code.INVALID_REQUEST, field="priority", reason=reasons.WITHIN(low=1, high=4))`
"""

from __future__ import annotations

from typing import Final

from taskmill.words import Words

# 参数依次是中文、英文
WITHIN: Final = Words("须在 {low} 到 {high} 之间", "must be within {low} and {high}")
NOT_SET: Final = Words("未设置", "not set")
NOT_A_URL: Final = Words(
    "不是网址；密码里的特殊字符要用百分号编码", "not a URL; percent-encode special characters of the password"
)
# 上限的名目：跟在数字后面，或作为“已达上限”的主语
BYTES: Final = Words("字节", "bytes")
HEADERS: Final = Words("个", "headers")
CONNECTIONS: Final = Words("连接数", "connections")
BODIES: Final = Words("正在处理的请求体", "bytes of bodies in work")
