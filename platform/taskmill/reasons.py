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
