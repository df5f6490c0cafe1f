"""Numbers with a meaning that several packages share, each with its unit and reason, and the defaults of settings.

What one package alone uses stands in its own `constants.py`.
"""

from __future__ import annotations

from typing import Final

# ── 数据库 ────────────────────────────────────────────────────────────────
SCHEMA: Final = "taskmill"  # 所有表所在的模式
MIGRATION_LOCK_TIMEOUT_S: Final = 300.0  # 等另一个迁移进程的最长时间
POOL_SIZE: Final = 10  # 每个进程的热路径连接数
ORM_POOL_SIZE: Final = 5  # 每个进程的 ORM 连接数
POOL_TOTAL_MAX: Final = 25  # 两者之和的上限：几个角色加起来也不该占满 PostgreSQL 默认的 100 个
SETTING_LIKENESS: Final = 0.8  # 变量名与某项设置像到这个程度，才猜是写错了
CONNECT_TIMEOUT_S: Final = 5  # 建一条连接的最长时间
SLOW_QUERY_S: Final = 0.1  # 这么久的语句写一行日志：热语句都在几毫秒之内
COMMAND_TIMEOUT_S: Final = 10.0  # 一条语句的最长时间：加上撤销与重连仍在 20 秒之内；列表自有 5 秒的上限
COMMAND_TIMEOUT_MIN_S: Final = 6.0  # 设置的下限：比列表的上限略长，否则列表总被误当成断线
DATABASE_WAIT_S: Final = 60.0  # 启动时等 PostgreSQL 的最长时间：够它重启一次，又不至于让人以为卡住
RETRY_SERIALIZATION_TIMES: Final = 5  # 40P01/40001 时整个工作单元的重试次数

# ── 任务 ──────────────────────────────────────────────────────────────────
PRIORITIES: Final = (1, 2, 3, 4)  # 1 最高
PRIORITY_WEIGHTS: Final = {1: 64, 2: 24, 3: 8, 4: 4}  # 读取权重：低优先级永不饿死
PRIORITY_DEFAULT: Final = 2
QUEUE_DEFAULT: Final = "default"
MAX_ATTEMPTS_DEFAULT: Final = 5
MAX_ATTEMPTS_LIMIT: Final = 1000
CRASH_BUDGET: Final = 3  # 工作进程崩溃达到此数即视为毒丸
SUSPECT_FROM: Final = CRASH_BUDGET - 1  # 再崩一次就用完预算的任务可疑：它独占一个工作进程
TIMEOUT_DEFAULT_S: Final = 600.0
TIMEOUT_MAX_S: Final = 7 * 86_400.0
VERSION_MAX: Final = 2**31 - 1  # 类型的版本存在 int4 列里
DELAY_MAX_S: Final = 10 * 365 * 86_400.0  # 最远可计划十年

# ── 输入上限 ──────────────────────────────────────────────────────────────
ARGS_MAX_BYTES: Final = 256 * 1024
ARGS_MAX_DEPTH: Final = 64
META_MAX_BYTES: Final = 16 * 1024
UNIQUE_KEY_MAX_CHARS: Final = 200  # 唯一键，以及 by 里的一个路径
NAME_MAX_CHARS: Final = 100  # 队列、类型、标签、计划的名字
TIME_YEARS: Final = (1970, 2999)  # 时间的年份范围；驱动读不回 1 年以前与 9999 年以后
RESULT_MAX_BYTES: Final = 1024 * 1024
ERROR_MESSAGE_MAX_CHARS: Final = 4_000
BODY_MAX_BYTES: Final = 8 * 1024 * 1024
BATCH_BODY_MAX_BYTES: Final = 32 * 1024 * 1024
BATCH_MAX_TASKS: Final = 10_000
DEPENDS_ON_MAX: Final = 100
LIMIT_MAX: Final = 1_000_000  # 一个队列的各种上限至多设到这么大
QUEUES_MAX: Final = 20_000  # 队列数的上限：名字由提交者取，写错的程序能造出无数个
PAGE_SIZE_DEFAULT: Final = 20
PAGE_SIZE_MAX: Final = 100
TOTAL_EXACT_MAX: Final = 10_000  # 超过就只说 total_capped

# ── 提交 ──────────────────────────────────────────────────────────────────
FLAG_MEMORY_S: Final = 0.25  # 记住「该流已满/失联」的时间，其间直接写 NULL

# ── 票据与流 ──────────────────────────────────────────────────────────────
STREAM_WINDOW: Final = 200_000  # 每个流最多多少张票据（8 MB），其余由 stager 按序补，各多写一次行
LOOK_LATELY_S: Final = 2  # 从头看一遍太贵的时候，只看这么久以内的
LOST_TICKET_MARGIN_S: Final = 5.0  # 票比流头早这么多，就是丢了

# ── 工作进程 ──────────────────────────────────────────────────────────────
CONCURRENCY_DEFAULT: Final = 10
CONCURRENCY_MAX: Final = 10_000
READ_BLOCK_MS: Final = 2_000  # 阻塞读的上限，必须小于 socket 超时
LEASE_S: Final = 20.0
HEARTBEAT_S: Final = 5.0
HEARTBEATS_PER_LEASE: Final = 3  # 一个租约里至少续这么多次：丢一次、慢一次都不算死
DRAIN_GRACE_S: Final = 30.0
THREADS_ABANDONED_MAX: Final = 64  # 这么多线程或协程超时、取消后一直不返回，就请外面换一个进程

# ── 调度器的循环 ──────────────────────────────────────────────────────────
# 一个队列与优先级里，有公平键的任务至多这么多个有票而没有开始：后来的键的第一个只等这么多个开始。
# 少到四分之三才补：补的时候还剩 375 张，一秒开始一万个也够 37 毫秒
FAIRNESS_WINDOW: Final = 500
STAGER_PERIOD_S: Final = 0.2  # 加上两成抖动，提交之后不到 250 ms 就有票
CATCH_UP_DEFAULT_S: Final = 600.0  # 错过的触发在此窗口内补一次
CATCH_UP_MAX_S: Final = 7 * 86_400.0  # 补触发的窗口最长一周
CRON_MAX_CHARS: Final = 200  # cron 表达式的长度上限
CRON_LATE_S: Final = 10.0  # 晚到这么久以内的触发逐个补上，更早的算错过
MISSED_COUNT_MAX: Final = 10_000  # 一次最多数多少个错过的 cron 触发，约 0.2 秒
DEADLINE_GRACE_S: Final = 10.0  # 超过截止多久后由救援者收回
PARTITION_DAYS_AHEAD: Final = 14
RETENTION_DAYS: Final = 14
INTERVAL_MIN_S: Final = 1.0
NEXT_FIRES_MAX: Final = 50

# ── 接口与日志 ────────────────────────────────────────────────────────────
API_PREFIX: Final = "/api/v1"
API_PORT: Final = 8800
API_PROCESSES_MAX: Final = 64
TRUNCATED: Final = "... (truncated)"
LOG_FILE_MODE: Final = 0o600  # 日志里有请求体与地址：只给自己看
LOG_DIR_MODE: Final = 0o700
LOG_FILE_MAX_BYTES: Final = 100 * 1024 * 1024
LOG_FILE_COUNT: Final = 10
LOG_FILE_MAX_AGE_S: Final = 86_400.0  # 一个日志文件最多写一天
LOG_FILE_MIN_AGE_S: Final = 60.0
LOG_FILE_SAY_S: Final = 60.0  # 日志文件写不成（磁盘满）时多久说一次：一行一说会淹没标准错误
API_KEY_PREFIX: Final = "tmk_"
API_KEY_BYTES: Final = 32
LISTEN_BACKLOG: Final = 2_048  # 等待 accept 的连接数，与 uvicorn 的默认值相同
DUE_SOON_S: Final = 60.0  # /scaling 把多久内到期的任务算作即将就绪
SHUTDOWN_GRACE_S: Final = 5.0
HTTP_HEADER_MAX_BYTES: Final = 64 * 1024  # 请求行与请求头合计；常见代理是 8–32 KB
HTTP_HEADERS_MAX: Final = 100  # 请求头的个数，与 Node、Apache 相近
HTTP_HEADS_MAX_BYTES: Final = 16 * 1024 * 1024  # 所有连接里没收齐与没答完的请求头合计：256 个最大的；再多就断开占得最多的
HTTP_URL_MAX_BYTES: Final = 16 * 1024  # 请求行里的地址；列表的过滤条件远用不到
HTTP_HEADER_TIMEOUT_S: Final = 10.0  # 从连上（或上一个回答之后的第一个字节）到请求头收齐
HTTP_BODY_TIMEOUT_S: Final = 10.0  # 请求体的时限；之外按最低速率再给时间。对方不读回答也按它断开
HTTP_BODY_MIN_RATE: Final = 64 * 1024  # 每秒字节：512 kbit/s 的线路传得完 32 MB 的批量
HTTP_KEEP_ALIVE_S: Final = 5  # 与 uvicorn 的默认值相同
HTTP_CONNECTIONS_MAX: Final = 2_048  # 半截的请求头另有合计的上限
HTTP_CONNECTIONS_MIN: Final = 16  # 描述符再少，也留这么多个连接
BODIES_MAX_BYTES: Final = 64 * 1024 * 1024  # 同时在处理的请求体合计：两个最大的批量，约占五倍内存

# ── 界面 ──────────────────────────────────────────────────────────────────
DASHBOARD_IDLE_S: Final = 8 * 3_600.0  # 一个工作日不用就退出
DASHBOARD_SESSION_S: Final = 7 * 86_400.0  # 每周至少登录一次
DASHBOARD_SESSIONS_MAX: Final = 20  # 一个密钥几个人、几台机器共用也够

# ── 插件 ──────────────────────────────────────────────────────────────────
SECRET_MASK: Final = "***"  # 显示机密值时的替代文字  # noqa: S105

# ── 集群控制器 ────────────────────────────────────────────────────────────
OPERATOR_HEALTH_PORT: Final = 8802
LOGIN_REFUSED_S: Final = 60.0  # PostgreSQL 拒绝登录这么久，接口与调度器就不算活着：重启才会读到新的密码
PLUGIN_START_BUDGET_S: Final = 5.0  # 一个插件起来的时限；大的依赖在少的 CPU 上要久得多
OPERATOR_TICK_S: Final = 5.0  # 观察数据库并决定规模的周期
OPERATOR_WORKERS: Final = 8  # 同时对账的键数
OPERATOR_ROLLOUTS: Final = 5  # 同时滚动更新的队列数
OPERATOR_LEASE: Final = "taskmill-operator"

# ── 内嵌服务器（只用于开发与测试） ────────────────────────────────────────
DEV_FOLDER: Final = ".taskmill"  # 内嵌服务器的数据与 run.json，位于当前目录
