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

# JSON、时长与时刻：一处定义，提交、处理函数与命令行共用
NOT_JSON: Final = Words("不是 JSON：{error}", "not JSON: {error}")
NOT_FINITE: Final = Words("NaN 与无穷大不是 JSON", "NaN and Infinity are not JSON")
NOT_AN_OBJECT: Final = Words("须是对象", "must be an object")
HAS_NUL: Final = Words("含有 NUL 字符", "contains a NUL character")
TOO_MANY_BYTES: Final = Words("{size} 字节，上限 {limit}", "{size} bytes, limit {limit}")
NOT_SECONDS: Final = Words("不是秒数：{value}", "not a number of seconds: {value}")
NOT_A_TIME: Final = Words("不是时刻：{value}", "not a moment: {value}")
YEAR_WITHIN: Final = Words("年份须在 {low} 到 {high} 之间", "the year must be within {low} and {high}")

# 任务类型：哪里写得不对
DID_YOU_MEAN: Final = Words("是否想写 {names}？", "did you mean {names}? ")
KIND_NAME: Final = Words("类型须形如 area.verb", "a kind must look like area.verb")
KIND_NUMBER: Final = Words("{field} 须是 {low} 到 {high} 之间的整数", "{field} must be a whole number within {low} and {high}")
KIND_TIMEOUT: Final = Words("timeout 须大于 0 且至多 {limit} 秒", "timeout must be above 0 and at most {limit} s")
NOT_A_DURATION: Final = Words("不是时长：{value}", "not a duration: {value}")
NOT_A_QUEUE: Final = Words("不是队列名：{value}", "not the name of a queue: {value}")
NOT_ANNOTATED: Final = Words(
    "参数 {name} 没有类型注解；什么都收就写 {name}: Any", "parameter {name} has no annotation; write {name}: Any to take anything"
)
POSITIONAL: Final = Words(
    "参数 {name} 只能按位置传，而参数是按名字传的", "parameter {name} is positional only, but args are passed by name"
)
VARIADIC: Final = Words("*args 与 **kwargs 没有 Schema 可以描述", "*args and **kwargs cannot be described by a schema")
NO_HINTS: Final = Words("类型注解无法解析：{error}", "the annotations cannot be resolved: {error}")
NO_SCHEMA: Final = Words("参数没有 JSON Schema：{error}", "the args have no JSON Schema: {error}")
SCHEMA_BROKEN: Final = Words(
    "参数的 JSON Schema 编译不了（正则须合 ECMA 262）：{error}",
    "the JSON Schema of the args does not compile (patterns must be ECMA 262): {error}",
)
SCHEMA_OF_OLD: Final = Words(
    "此类型的 JSON Schema 编译不了，请问它的插件", "the JSON Schema of this kind does not compile; ask its plugin"
)
GENERATOR: Final = Words("生成器不能做处理函数：它调用时什么也不执行", "a generator cannot be a handler: calling it runs nothing")
CACHED_COROUTINE: Final = Words(
    "协程函数外面不能套 lru_cache：第二次得到的是用过的协程",
    "lru_cache around a coroutine function gives a coroutine that was used already",
)
NOT_CALLABLE: Final = Words("处理函数不可调用：{value}", "the handler cannot be called: {value}")
PLAIN_ON_LOOP: Final = Words(
    "普通函数不能用执行器 async，它会挡住别的任务", "a plain function cannot use the executor async: it would block other tasks"
)
UNKNOWN_EXECUTOR: Final = Words("没有执行器 {name}；有 {known}", "there is no executor {name}; there are {known}")
EXECUTOR_BROKEN: Final = Words("执行器 {name} 造不出来：{error}", "the executor {name} could not be made: {error}")
NOT_EXCEPTIONS: Final = Words("{field} 只能放异常类型：{value}", "{field} takes exception types only: {value}")
NOT_STORABLE: Final = Words("{field} 含有存不了的字符", "{field} has characters that cannot be stored")
NOT_TEXT: Final = Words("{field} 须是文字", "{field} must be a text")
NOT_A_TASK: Final = Words("不是 @task，也不是 taskiq 任务：{value}", "neither a @task nor a taskiq task: {value}")
SCHEDULE_OF: Final = Words("计划 {name}：{reason}", "schedule {name}: {reason}")
SCHEDULE_TWICE: Final = Words("cron 与 every 只给一个，名字不能重复", "give cron or every, and a free name")
UNKNOWN_KIND: Final = Words("这里没有插件提供类型 {kind}。{known}", "no plugin here has the kind {kind}. {known}")

# 提交只能在它自己的事件循环里
OTHER_LOOP: Final = Words(
    "提交属于另一个事件循环；在线程里用 ctx.submit_sync", "submits belong to another event loop; in a thread use ctx.submit_sync"
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
