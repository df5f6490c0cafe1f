"""The reasons that errors give, in both languages: what stands behind `details.reason`.

Example: `raise InputError(Code.INVALID_REQUEST, field="priority", reason=reasons.WITHIN(low=1, high=4))`
"""

from __future__ import annotations

from typing import Final

from taskmill.words import Words

# 参数依次是中文、英文
WITHIN: Final = Words("须在 {low} 到 {high} 之间", "must be within {low} and {high}")
NOT_SET: Final = Words("未设置", "not set")
NEITHER_SET: Final = Words(
    "都未设置；taskmill dev 的在它的 .taskmill/run.json 里", "not set; those of a taskmill dev are in its .taskmill/run.json"
)
NOT_A_URL: Final = Words(
    "不是网址；密码里的特殊字符要用百分号编码", "not a URL; percent-encode special characters of the password"
)

# JSON、时长与时刻：一处定义，提交、处理函数与命令行共用
NOT_JSON: Final = Words("不是 JSON：{error}", "not JSON: {error}")
NOT_FINITE: Final = Words("NaN 与无穷大不是 JSON", "NaN and Infinity are not JSON")
NOT_AN_OBJECT: Final = Words("须是对象", "must be an object")
NEEDED: Final = Words("须填写", "must be filled in")
NOT_A_NUMBER: Final = Words("须是数，例如 7 或 1.5", "must be a number such as 7 or 1.5")
NOT_A_CHOICE: Final = Words("不是可选的值", "is none of the choices")
ITEM: Final = Words("第 {n} 项：{reason}", "item {n}: {reason}")
AT_FIELD: Final = Words("{field}：{reason}", "{field}: {reason}")
HAS_NUL: Final = Words("含有 NUL 字符", "contains a NUL character")
TOO_MANY_BYTES: Final = Words("{size} 字节，上限 {limit}", "{size} bytes, limit {limit}")
NOT_SECONDS: Final = Words("不是秒数：{value}", "not a number of seconds: {value}")
NOT_A_TIME: Final = Words("不是时刻：{value}", "not a moment: {value}")
YEAR_WITHIN: Final = Words("年份须在 {low} 到 {high} 之间", "the year must be within {low} and {high}")

# 任务类型：哪里写得不对
DID_YOU_MEAN: Final = Words("是否想写 {names}？", "did you mean {names}? ")
NO_ALTERNATIVE: Final = Words("几种都不是：{each}", "fits none of the alternatives: {each}")
NO_FIELD: Final = Words("没有字段 {names}{rest}", "no field {names}{rest}")
FIELDS: Final = Words("。{hint}有这些：{names}", "; {hint}there are: {names}")
KIND_NAME: Final = Words("类型须形如 area.verb", "a kind must look like area.verb")
KIND_NUMBER: Final = Words(
    "{field} 须是 {low} 到 {high} 之间的整数", "{field} must be a whole number within {low} and {high}"
)
KIND_TIMEOUT: Final = Words("timeout 须大于 0 且至多 {limit} 秒", "timeout must be above 0 and at most {limit} s")
NOT_A_DURATION: Final = Words("不是时长：{value}", "not a duration: {value}")
NOT_A_QUEUE: Final = Words("不是队列名：{value}", "not the name of a queue: {value}")
NOT_ANNOTATED: Final = Words(
    "参数 {name} 没有类型注解；什么都收就写 {name}: Any",
    "parameter {name} has no annotation; write {name}: Any to take anything",
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
GENERATOR: Final = Words(
    "生成器不能做处理函数：它调用时什么也不执行", "a generator cannot be a handler: calling it runs nothing"
)
CACHED_COROUTINE: Final = Words(
    "协程函数外面不能套 lru_cache：第二次得到的是用过的协程",
    "lru_cache around a coroutine function gives a coroutine that was used already",
)
NOT_CALLABLE: Final = Words("处理函数不可调用：{value}", "the handler cannot be called: {value}")
PLAIN_ON_LOOP: Final = Words(
    "普通函数不能用执行器 async，它会挡住别的任务",
    "a plain function cannot use the executor async: it would block other tasks",
)
UNKNOWN_EXECUTOR: Final = Words("没有执行器 {name}；有 {known}", "there is no executor {name}; there are {known}")
EXECUTOR_BROKEN: Final = Words("执行器 {name} 造不出来：{error}", "the executor {name} could not be made: {error}")
NOT_EXCEPTIONS: Final = Words("{field} 只能放异常类型：{value}", "{field} takes exception types only: {value}")
NOT_STORABLE: Final = Words("{field} 含有存不了的字符", "{field} has characters that cannot be stored")
KEY_OR_BY: Final = Words("key 与 by 只给一个", "give key or by, not both")
KEY_TWICE: Final = Words(
    "unique_key 与 unique 只给一个；unique 里有 key", "give unique_key or unique, not both; unique has a key too"
)
TEXT_OF: Final = Words("须为 1 到 {limit} 个字符，不含 NUL", "must have 1 to {limit} characters, none of them NUL")
NOT_IN_ARGS: Final = Words("参数里没有 {name}", "the args have no {name}")
NOT_A_TEMPLATE: Final = Words(
    "不是键的样板：{value}；参数写作 {{name}}", "not a template of a key: {value}; args are written {{name}}"
)
PARENT_FAILED: Final = Words(
    "它依赖的任务 {id} 没有完成：{state}", "the task {id} on which it depends did not complete: {state}"
)
ONLY_WITH: Final = Words("只与 {field} 一起给", "only together with {field}")
PRINTABLE: Final = Words("须为 1 到 {limit} 个可见的 ASCII 字符", "must have 1 to {limit} printable ASCII characters")
NOT_A_TASK: Final = Words(
    '不是 @task，也不是 taskiq 任务：{value}；在它上面写 @task("area.verb")',
    'neither a @task nor a taskiq task: {value}; put @task("area.verb") above it',
)
SCHEDULE_OF: Final = Words("计划 {name}：{reason}", "schedule {name}: {reason}")
SCHEDULE_TWICE: Final = Words("cron 与 every 只给一个，名字不能重复", "give cron or every, and a free name")
UNKNOWN_KIND: Final = Words("这里没有插件提供类型 {kind}", "no plugin here has the kind {kind}")
UNKNOWN_KIND_LIKE: Final = Words(
    "这里没有插件提供类型 {kind}，是否想写 {names}？", "no plugin here has the kind {kind}; did you mean {names}?"
)

# 提交只能在它自己的事件循环里
OTHER_LOOP: Final = Words(
    "它属于另一个事件循环；在线程里，处理函数用 ctx.submit_sync，应用用 taskmill.sync.Taskmill",
    "it belongs to another event loop; in a thread a handler uses ctx.submit_sync, an application taskmill.sync.Taskmill",
)
# 应用的连接
NO_GUEST: Final = Words(
    "connection= 须是 asyncpg 或 psycopg 3 的连接，或 SQLAlchemy 的会话或连接，不能是 {what}",
    "connection= must be a connection of asyncpg or psycopg 3, or a session or connection of SQLAlchemy, not {what}",
)
GUEST_AWAITS: Final = Words(
    "这个连接要 await：用 taskmill.Taskmill，不要用 taskmill.sync.Taskmill",
    "this connection is to be awaited: use taskmill.Taskmill instead of taskmill.sync.Taskmill",
)
GUEST_RIGHTS: Final = Words(
    "grant usage on schema taskmill、grant execute on function {function} 给应用的角色：{error}",
    "grant usage on schema taskmill and execute on function {function} to the application's role: {error}",
)
NOT_OPEN: Final = Words(
    "还没有打开，或已关闭：async with Taskmill() as tm",
    "it is not open, or closed already: async with Taskmill() as tm",
)
FORKED: Final = Words(
    "它在 fork 之前打开，线程没有跟来：每个进程各自打开",
    "it was opened before a fork and its thread stayed behind: open one in each process",
)
NOT_A_TAG: Final = Words(
    "须为 1 到 {limit} 个字符，不含空白与控制符",
    "must have 1 to {limit} characters, none of them blank, control or invisible",
)
UNKNOWN_SETTING: Final = Words("没有这项设置", "no such setting")
UNKNOWN_SETTING_LIKE: Final = Words("没有这项设置，是否想写 {close}？", "no such setting; did you mean {close}?")
THIRD_OF: Final = Words(
    "是 {value}，不能大于 {limit}：{other}（{given}）的三分之一",
    "it is {value}, at most {limit} will do: a third of {other} ({given})",
)
NOT_ABOVE: Final = Words("是 {value}，不能大于 {other}（{given}）", "it is {value}, at most {other} ({given}) will do")
SUM_ABOVE: Final = Words(
    "合计 {sum}，每个进程至多 {limit} 个连接", "together {sum}; a process may have {limit} connections at most"
)
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
CONFLICT: Final = Words(
    "与别的事务冲突，重试仍未成：{words}", "in conflict with other transactions, also when repeated: {words}"
)
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
    "{zone} 在每台机器上意思不同；请写地区名，如 Asia/Shanghai",
    "{zone} means another thing on each machine; name a region such as Asia/Shanghai",
)

# doctor 的修法
FIX_ENCODING: Final = Words(
    "用 UTF8 新建数据库：create database 名称 encoding 'UTF8' template template0",
    "make a new database: create database name encoding 'UTF8' template template0",
)
FIX_RIGHTS: Final = Words(
    "由管理员授予 {role}；SQL 在 docs/guides/operations.md 的 PostgreSQL 一节",
    "an administrator grants them to {role}; the SQL is in docs/guides/operations.md, PostgreSQL",
)
FIX_DISPATCH: Final = Words(
    "此用户须能对 taskmill:* 的键与频道用流、哈希、脚本和发布订阅；可读写的主节点。ACL 见 docs/guides/operations.md",
    "the user needs streams, hashes, scripts and pub/sub on the keys and channels taskmill:*, on a primary; the ACL is in docs/guides/operations.md",
)
FIX_KEYS: Final = Words(
    "这些队列的键被别的类型占用；运行着的调度器几秒内会删除并重建，并找出是谁写的",
    "keys of these queues hold a foreign type; a running scheduler deletes and rebuilds them within seconds; find out who writes them",
)
FIX_PLUGIN_HEALTH: Final = Words("见该插件的文档", "see its documentation")
FIX_ACCESS: Final = Words("检查地址与权限", "check URL and rights")
FIX_UNSET: Final = Words("设置 {field}，或用 taskmill dev", "set {field}, or use taskmill dev")
FIX_POSTGRES: Final = Words("升级到 {version} 或更新", "upgrade to {version} or newer")
FIX_CLOCK: Final = Words("在两台机器上启用 NTP", "run NTP on both machines")
FIX_PROGRAM: Final = Words("升级程序", "upgrade the program")
FIX_PARTITIONS: Final = Words("taskmill migrate up，并运行调度器", "taskmill migrate up, and run a scheduler")
FIX_LEASES: Final = Words("运行调度器，它会收回它们的任务", "run a scheduler: it takes back their tasks")
FIX_PLUGIN_KIND: Final = Words("改正类型，或安装有它的插件", "correct the kind, or install the plugin that has it")
FIX_PLUGIN_HOOKS: Final = Words(
    "改正它；钩子的名字见 docs/reference/hooks.md", "mend it; the names of the hooks are in docs/reference/hooks.md"
)
FIX_PLUGIN_MODULE: Final = Words(
    "修好它，或从 TASKMILL_PLUGIN_MODULES 里去掉", "repair it, or take it out of TASKMILL_PLUGIN_MODULES"
)
FIX_PLUGIN: Final = Words("修好它，或禁用：TASKMILL_PLUGINS_DENY", "repair or deny it: TASKMILL_PLUGINS_DENY")
FIX_PORT: Final = Words(
    "接口要用它：停掉占着它的，或改 TASKMILL_API_PORT", "for the API: stop who holds it, or set TASKMILL_API_PORT"
)
# doctor 的所见
VALKEY: Final = Words("{version}，{policy}", "{version}, {policy}")
NO_POLICY: Final = Words("maxmemory-policy 未知", "maxmemory-policy unknown")
REVISION: Final = Words("{current}，最新 {head}", "{current}, head {head}")
EMPTY: Final = Words("空", "empty")
PARTITIONS: Final = Words("{n} 天，到 {last}", "{n} days, until {last}")
NO_PARTITION_TODAY: Final = Words("没有今天（{today}）的", "none for today ({today})")
NONE_RUNS: Final = Words("没有运行", "none runs")
LEASES: Final = Words("{all} 个中 {held} 个持有租约", "{held} of {all} hold a lease")
NO_PLUGINS: Final = Words("未安装任何插件", "none installed")
PORT_OF_API: Final = Words("{host}:{port} 上是接口", "{host}:{port} is held by the API")
PORT_TAKEN: Final = Words(
    "{host}:{port} 被占用（{problem}），不是 Taskmill 的接口", "{host}:{port} is held by somebody else ({problem})"
)
PORT_FREE: Final = Words("{host}:{port} 空闲", "{host}:{port} free")

# 引擎自己对一次尝试说的话，随任务存下
CANCELLED: Final = Words("运行中被取消", "cancelled while running")
TIMED_OUT: Final = Words("超时 {seconds} 秒", "timed out after {seconds} s")
BLOCKED_LOOP: Final = Words(
    "堵住了工作进程的事件循环 {seconds} 秒，停在 {where}", "blocked the event loop of its worker for {seconds} s, at {where}"
)
SHUT_OUT: Final = Words("同一个工作进程里有任务堵住了事件循环", "another task blocked the event loop of its worker")
CANCELLED_ITSELF: Final = Words("处理函数取消了自己", "the handler cancelled itself")
CUT_OFF: Final = Words("工作进程停机时尚未结束", "the worker stopped before it ended")
OVERDUE: Final = Words("超过截止时间，工作进程未能结束它", "past its deadline, the worker did not end it")
EXPIRED: Final = Words("已过 expires_at", "expires_at passed")
WORKER_SILENT: Final = Words("工作进程失联", "the worker fell silent")
OUT_OF_MEMORY: Final = Words("容器内存耗尽", "the pod ran out of memory")
EVICTED: Final = Words("容器被驱逐", "the pod was evicted")
POD_STOPPED: Final = Words("容器停机时尚未结束", "the pod was stopped before it ended")
NODE_LOST: Final = Words("节点失联", "the node was lost")
# 上限的名目：跟在数字后面，或作为“已达上限”的主语
BYTES: Final = Words("字节", "bytes")
HEADERS: Final = Words("个", "headers")
STREAMS: Final = Words("事件流", "event streams")
CONNECTIONS: Final = Words("连接数", "connections")
PIPELINED: Final = Words("一个连接上排队的请求", "requests in line on one connection")
BODIES: Final = Words("正在处理的请求体", "bytes of bodies in work")

# 请求：正文、参数与密钥
CLIENT_LEFT: Final = Words("客户端已断开", "the client left")
NO_BODY: Final = Words("此操作不收请求体", "this action takes no body")
NOT_UTF8: Final = Words("不是 UTF-8：{error}", "not UTF-8: {error}")
NONE_GIVEN: Final = Words("未给出", "none")
GIVEN_TWICE: Final = Words("给了不止一次", "given more than once")
NOT_A_UUID: Final = Words("不是 UUID", "not a UUID")
NO_SUCH_NAME: Final = Words("至多 {limit} 字，不含 NUL", "at most {limit} characters, no NUL")
UNFIT: Final = Words("不合要求：{words}", "{words}")
NO_KEY_GIVEN: Final = Words("没有 Authorization 请求头", "no Authorization header")
NOT_BEARER: Final = Words("不是 Bearer 密钥", "not a Bearer key")
KEY_REFUSED: Final = Words("未知、过期或已吊销", "unknown, expired or revoked")
DEV_LOCAL_ONLY: Final = Words("开发令牌只限本机使用", "the development token works on this machine only")
SESSION_OVER: Final = Words("会话已结束，请重新登录", "the session is over; log in again")
LINK_USED: Final = Words("链接已用过或已过期", "the link was used or is too old")
KEYS_EXIST: Final = Words("已有密钥，请使用密钥", "keys exist, use one")
PAGE_TOO_DEEP: Final = Words("超过第 {limit} 条，请用 next_cursor", "beyond item {limit}; follow next_cursor")
WHOLE_HOURS: Final = Words(
    "看一天以上的，间隔要是整小时", "over more than a day the interval is in whole hours (a multiple of 60)"
)
NOT_WITH_CURSOR: Final = Words("不能与 cursor 同用", "not together with cursor")
NONE_OF: Final = Words("{value} 不是以下之一：{names}", "{value} is none of {names}")
ONE_OF: Final = Words("只能是：{names}", "one of {names}")

# 过滤条件：第几个字起的哪个词不对
AT_PLACE: Final = Words("第 {at} 个字起的 {word}：{reason}", "{word} at character {at}: {reason}")
NO_FILTER: Final = Words("没有这个条件。{hint}可用：{names}", "no such key. {hint}There are: {names}")
BARE_WORD: Final = Words(
    "要写成 键:值，如 queue:mail；单独一个词只能是任务编号",
    "write key:value, such as queue:mail; a word alone must be the id of a task",
)
NO_VALUE: Final = Words("冒号后面没有值", "nothing follows the colon")
QUOTE_OPEN: Final = Words("引号没有关", "the quote is not closed")
NOT_A_STATE: Final = Words("没有这个状态。{hint}可用：{names}", "no such state. {hint}There are: {names}")
NOT_A_MOMENT: Final = Words("要写成 >2h、<2026-11-01 或 7d..1d", "write >2h, <2026-11-01 or 7d..1d")
NOT_NEGATED: Final = Words("还不支持用 - 排除", "leaving out with - is not supported yet")

# 任务、队列、计划与密钥的值
QUEUE_NAME: Final = Words("只用字母数字与 _ . -，至多 {limit} 字", "letters, digits, _ . - and at most {limit} characters")
SCHEDULE_NAME: Final = Words(
    "只用字母数字与 _ . : -，至多 {limit} 字", "letters, digits, _ . : - and at most {limit} characters"
)
LIKE_AN_ID: Final = Words("形似编号", "looks like an id")
ABOVE_ZERO: Final = Words("须大于 0 且不超过 {limit}", "must be above 0 and at most {limit}")
AT_MOST: Final = Words("至多 {limit} 个", "at most {limit}")
TOO_LONG: Final = Words("至多 {limit} 字", "at most {limit} characters")
LENGTH: Final = Words("须为 1 到 {limit} 个字符", "1 to {limit} characters")
RUN_AT_OR_DELAY: Final = Words("run_at 与 delay_s 只能给一个", "give run_at or delay_s, not both")
NEEDS_ZONE: Final = Words("需要时区，如 2026-01-01T08:00:00Z", "needs a time zone, e.g. 2026-01-01T08:00:00Z")
IN_FUTURE: Final = Words("须在将来且带时区", "must be in the future, with a time zone")
CRON_OR_INTERVAL: Final = Words("cron 与 interval_s 须且只能给一个", "give cron or interval_s, one of them")
NOT_CRON: Final = Words("不是合法的 cron 表达式：{error}", "not a cron expression: {error}")
NEVER_FIRES: Final = Words("永远不会触发", "never fires")
MOVING: Final = Words("正在变化", "moving")
SAME_NAME: Final = Words("有 {n} 个同名密钥，请给出编号", "{n} keys are called so, give the id")

# 连接与迁移
POOL_CLOSED: Final = Words("连接池未打开", "the pool is closed")
OTHER_MIGRATION: Final = Words("另一个迁移正在进行", "another migration is running")
TABLE_IN_USE: Final = Words("表一直被占用", "a table is in use for too long")

# 插件的加载与健康
OWN_WORKER: Final = Words("请用 taskmill worker", "use `taskmill worker`")
NOT_UP: Final = Words("{seconds} 秒内未就绪", "not up within {seconds} s")
UNKNOWN_HOOK: Final = Words("没有钩子 {name}，是否想写 {hint}？", "unknown hook {name}, did you mean {hint}?")
NO_MANIFEST: Final = Words("没有 taskmill_manifest", "it has no taskmill_manifest")
NO_MODULE: Final = Words(
    "没有名为 {name} 的模块：它所在的目录要在 PYTHONPATH 里",
    "there is no module {name}: the folder that it is in must be on PYTHONPATH",
)
MANIFEST_RAISED: Final = Words(
    "taskmill_manifest 出错：{error}；Manifest 必须给出 {fields}",
    "taskmill_manifest failed: {error}; a Manifest must have {fields}",
)
HOOK_ARGUMENTS: Final = Words(
    "钩子 {hook} 没有参数 {names}；有 {known}", "the hook {hook} has no argument {names}; it has {known}"
)
NOT_MARKED: Final = Words("{hook} 上面没有 @hookimpl，没有人会调用它", "{hook} lacks @hookimpl, so nobody calls it")
BRINGS_NOTHING: Final = Words(
    "它什么也没带来：没有类型、路由、命令或检查；钩子上面写了 @hookimpl 吗？",
    "it brings nothing: no kind, route, command or check; do its hooks have @hookimpl?",
)
NOT_A_MANIFEST: Final = Words("taskmill_manifest 没有返回 Manifest", "taskmill_manifest did not return a Manifest")
OTHER_NAME: Final = Words("清单里的名字是 {name}", "its manifest names it {name}")
NO_FOLDER: Final = Words("迁移目录不存在：{folder}", "its migrations folder does not exist: {folder}")
UNREADABLE_MIGRATIONS: Final = Words(
    "迁移目录 {folder} 读不了：{error}", "its migrations folder {folder} cannot be read: {error}"
)
TABLES_BEHIND: Final = Words(
    "它自己的表在 {current}，需要 {head}：taskmill migrate up",
    "its own tables are at {current}, {head} is needed: taskmill migrate up",
)
TABLES_AHEAD: Final = Words(
    "它自己的表在 {current}，比这里装的新，读不了：装新一些的版本",
    "its own tables are at {current}, newer than what is installed here can read: install a newer version",
)
IN_PLUGIN_FILE: Final = Words("插件 {plugin}，{where}：{error}", "plugin {plugin}, {where}: {error}")
NOT_INSTALLED: Final = Words("没有安装", "is not installed")
NOT_A_MIDDLEWARE: Final = Words("{name} 不是 taskiq 的中间件", "{name} is no middleware of taskiq")
SETTINGS: Final = Words("设置", "settings")
NAME_TAKEN: Final = Words(
    "清单里的名字 {name} 已被 {where} 占用", "its manifest names it {name}, a name that is taken by {where}"
)
EXECUTOR_TAKEN: Final = Words("执行器 {name} 已被占用", "executor {name} is taken")
REQUIRED: Final = Words("未设置，但必须提供", "not set, but required")
NO_OPTION_LIKE: Final = Words("没有这项设置，是否想写 {close}？", "unknown setting, did you mean {close}?")
NO_OPTION: Final = Words("没有这项设置，可用的有：{names}", "unknown setting, known are: {names}")
NO_SUCH_TYPE: Final = Words("不支持的类型 {name}", "unsupported type {name}")
NOT_A: Final = Words("{where} 应是 {wanted}，却是 {given}", "{where} must be {wanted}, not {given}")
PAGE_TWICE: Final = Words("两个页面都叫 {name}", "two pages are called {name}")
AT_MOST_PARTS: Final = Words("{where} 至多 {most} 个", "{where} may have at most {most}")
PANEL_FAILING: Final = Words("连续失败，半分钟内不再问它", "it keeps failing and is not asked for half a minute")
HEALTH_FAILING: Final = Words("健康检查连续失败，暂停调用", "its health check keeps failing")
HEALTH_SILENT: Final = Words("{seconds} 秒内无应答", "no answer within {seconds} s")
HEALTH_CANCELLED: Final = Words("自行取消", "cancelled itself")
