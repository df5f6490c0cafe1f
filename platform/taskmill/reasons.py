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
