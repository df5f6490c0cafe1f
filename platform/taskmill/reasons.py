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
NOT_A_TAG: Final = Words(
    "须为 1 到 {limit} 个字符，不含空白与控制符", "must have 1 to {limit} characters, none of them blank, control or invisible"
)
UNKNOWN_SETTING: Final = Words("没有这项设置", "no such setting")
UNKNOWN_SETTING_LIKE: Final = Words("没有这项设置，是否想写 {close}？", "no such setting; did you mean {close}?")
THIRD_OF: Final = Words(
    "是 {value}，不能大于 {limit}：{other}（{given}）的三分之一", "it is {value}, at most {limit} will do: a third of {other} ({given})"
)
NOT_ABOVE: Final = Words("是 {value}，不能大于 {other}（{given}）", "it is {value}, at most {other} ({given}) will do")
SUM_ABOVE: Final = Words("合计 {sum}，每个进程至多 {limit} 个连接", "together {sum}; a process may have {limit} connections at most")
IN_BOTH: Final = Words("两边都有：{names}", "in both: {names}")
