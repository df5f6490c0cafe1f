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
NOT_POSTGRES: Final = Words("须以 postgresql:// 开头", "must begin with postgresql://")
NOT_REDIS: Final = Words("须以 redis://、rediss:// 或 unix:// 开头", "must begin with redis://, rediss:// or unix://")
BAD_PARAMETERS: Final = Words("? 之后须是 名称=值，以 & 相连", "what follows the ? must be name=value, joined by &")
NO_SUCH_PARAMETER: Final = Words("不支持参数 {name}", "the parameter {name} is not supported")
FILE_UNREADABLE: Final = Words("{name}：读不到文件 {path}", "{name}: the file {path} cannot be read")

# PostgreSQL 说了什么：{words} 是服务器自己的话
SAID: Final = Words("{words}", "{words}")
AUTHENTICATION: Final = Words("认证失败：{words}", "authentication failed: {words}")
NO_DATABASE: Final = Words("没有这个数据库：{words}", "no such database: {words}")
NO_PARTITION: Final = Words("还没有当天的历史分区：{words}", "the partition of that day does not exist yet: {words}")
READ_ONLY: Final = Words("服务器只读：{words}", "the server is read-only: {words}")
STALE_STATEMENT: Final = Words(
    "预备语句失效（表结构刚变过，或隔着事务级连接池）：{words}",
    "a prepared statement is no longer valid (the schema just changed, or a transaction pooler stands between): {words}",
)
CONFLICT: Final = Words("与别的事务冲突，重试仍未成：{words}", "in conflict with other transactions, also when repeated: {words}")
SHORT: Final = Words("服务器资源不足：{words}", "the server is short of resources: {words}")
LOCKED: Final = Words("等不到锁：{words}", "waited too long for a lock: {words}")
STOPPED: Final = Words("被管理员或时限中止：{words}", "stopped by an administrator or a time limit: {words}")
BROKEN: Final = Words("服务器内部出错：{words}", "the server itself failed: {words}")
TOO_BROAD: Final = Words("范围过大，超过 {limit}", "too broad, took over {limit}")
POOL_FULL: Final = Words("没有空闲的连接", "no free connection")
CREATE_SCHEMA: Final = Words(
    "没有模式 {schema}，此角色也无权建它（CREATE ON DATABASE）；让管理员执行 create schema {schema} authorization 此角色：{words}",
    "there is no schema {schema} and this role has no right to make it (CREATE ON DATABASE); let an administrator run"
    " create schema {schema} authorization this_role: {words}",
)

# 时间表
NO_SUCH_ZONE: Final = Words("没有这个时区：{zone}", "no such time zone: {zone}")
MACHINE_ZONE: Final = Words(
    "{zone} 在每台机器上意思不同；请写地区名，如 Asia/Shanghai", "{zone} means another thing on each machine; name a region such as Asia/Shanghai"
)

# doctor 的修法
FIX_ENCODING: Final = Words(
    "用 UTF8 新建数据库：create database 名称 encoding 'UTF8' template template0", "make a new database: create database name encoding 'UTF8' template template0"
)
FIX_RIGHTS: Final = Words(
    "由管理员授予 {role}；SQL 在 docs/guides/operations.md 的 PostgreSQL 一节", "an administrator grants them to {role}; the SQL is in docs/guides/operations.md, PostgreSQL"
)
FIX_DISPATCH: Final = Words(
    "此用户须能对 taskmill:* 的键与频道用流、哈希、脚本和发布订阅；可读写的主节点。ACL 见 docs/guides/operations.md",
    "the user needs streams, hashes, scripts and pub/sub on the keys and channels taskmill:*, on a primary; the ACL is in docs/guides/operations.md",
)
FIX_KEYS: Final = Words(
    "这些队列的键被别的类型占用；运行着的调度器几秒内会删除并重建，并找出是谁写的",
    "keys of these queues hold a foreign type; a running scheduler deletes and rebuilds them within seconds; find out who writes them",
)
# 上限的名目：跟在数字后面，或作为“已达上限”的主语
BYTES: Final = Words("字节", "bytes")
HEADERS: Final = Words("个", "headers")
CONNECTIONS: Final = Words("连接数", "connections")
BODIES: Final = Words("正在处理的请求体", "bytes of bodies in work")
