"""Numbers with a meaning, each with its unit and the reason for its value. Defaults of settings live here too."""

from __future__ import annotations

from typing import Final

# ── 数据库 ────────────────────────────────────────────────────────────────
SCHEMA: Final = "taskmill"  # 所有表所在的模式
MIGRATION_LOCK_KEY: Final = 0x7461736B6D696C6C  # pg_try_advisory_lock 的键，"taskmill" 的 ASCII
EPOCH_LOCK_KEY: Final = 0x7461736B65706F63  # 重建票据流的咨询锁，"taskepoc"
QUEUES_LOCK_KEY: Final = 0x7461736B71756575  # 数队列的咨询锁，"taskqueu"：同时新建的互相看得见，上限才数得准
MIGRATION_LOCK_POLL_S: Final = 0.2  # 轮询间隔；阻塞等待会卡住 CREATE INDEX CONCURRENTLY
MIGRATION_LOCK_TIMEOUT_S: Final = 300.0  # 等另一个迁移进程的最长时间
MIGRATION_LOCK_TRIES: Final = 10  # DDL 等锁超时后整个迁移从停下处再来的次数
MIGRATION_LOCK_PAUSE_S: Final = 2.0  # 两次之间让业务先走
TERMINATION_MAX_BYTES: Final = 4_096  # Kubernetes 只读终止消息的前 4 KiB
MIGRATION_STATEMENT_LOCK_TIMEOUT: Final = "3s"  # DDL 等锁的上限，避免排队堵住业务
POOL_SIZE: Final = 10  # 每个进程的热路径连接数
ORM_POOL_SIZE: Final = 5  # 每个进程的 ORM 连接数
POOL_TOTAL_MAX: Final = 25  # 两者之和的上限：几个角色加起来也不该占满 PostgreSQL 默认的 100 个
SETTING_LIKENESS: Final = 0.8  # 变量名与某项设置像到这个程度，才猜是写错了
CONNECT_TIMEOUT_S: Final = 5  # 建一条连接的最长时间
POOL_MAX_QUERIES: Final = 50_000  # 一条连接用这么多次就换新，asyncpg 的默认值
POOL_IDLE_S: Final = 300.0  # 闲置这么久就关掉，asyncpg 的默认值
POOL_WAIT_S: Final = 5  # 等连接池空出一条的最长时间，连同新建它
COMMAND_TIMEOUT_S: Final = 10.0  # 一条语句的最长时间：加上撤销与重连仍在 20 秒之内；列表自有 5 秒的上限
COMMAND_TIMEOUT_MIN_S: Final = 6.0  # 设置的下限：比列表的上限略长，否则列表总被误当成断线
LONG_COMMAND_TIMEOUT_S: Final = 60.0  # 清理与分区的语句：没有人等它们，别的循环各有自己的连接
CANCEL_TIMEOUT_S: Final = 2.0  # 语句超时或被取消之后，等服务器应答撤销的时间；不应答的连接是死的
LINK_FRESH_S: Final = 1.0  # 连接比这还新而服务器仍只读：重连也没有用，免得空转
IDLE_TRANSACTION_MS: Final = 12_000  # 服务器替我们结束闲着的事务：失联的连接留下的行锁最多挡这么久
CLOSE_TIMEOUT_S: Final = 2.0  # 好好道别的最长时间，之后直接切断
LOOKUP_TIMEOUT_S: Final = 5.0  # 大家共用的一次查询（密钥、类型、积压）的最长时间，连同排队
LOOKUP_SHARE_S: Final = 1.0  # 一次密钥查询这么久没有结果，就另起一次：卡住的连接不连累别人
TCP_KEEPALIVE_IDLE_S: Final = 10  # 闲置多久开始探测；比常见的 NAT 与防火墙的闲置时限短得多
TCP_KEEPALIVE_INTERVAL_S: Final = 3
TCP_KEEPALIVE_COUNT: Final = 3
TCP_USER_TIMEOUT_MS: Final = 10_000  # 发出的数据这么久没有确认，内核就断开；默认约 15 分钟
DATABASE_WAIT_S: Final = 60.0  # 启动时等 PostgreSQL 的最长时间：够它重启一次，又不至于让人以为卡住
STARTUP_RETRY_S: Final = 0.25  # 启动时第一次重试的间隔，逐次加倍
STARTUP_RETRY_MAX_S: Final = 5.0
RETRY_SERIALIZATION_TIMES: Final = 5  # 40P01/40001 时整个工作单元的重试次数
MIN_POSTGRES_VERSION: Final = 14

GC_THRESHOLDS: Final = (50_000, 20, 50)  # 默认 700 次分配就扫一遍在途对象：实测提交慢 40%，执行慢 25%

# ── 任务 ──────────────────────────────────────────────────────────────────
PRIORITIES: Final = (1, 2, 3, 4)  # 1 最高
PRIORITY_DEFAULT: Final = 2
PRIORITY_WEIGHTS: Final = {1: 64, 2: 24, 3: 8, 4: 4}  # 读取权重：低优先级永不饿死
QUEUE_DEFAULT: Final = "default"
MAX_ATTEMPTS_DEFAULT: Final = 5
MAX_ATTEMPTS_LIMIT: Final = 1000
CRASH_BUDGET: Final = 3  # 工作进程崩溃达到此数即视为毒丸
SUSPECT_FROM: Final = CRASH_BUDGET - 1  # 再崩一次就用完预算的任务可疑：它独占一个工作进程
TIMEOUT_DEFAULT_S: Final = 600.0
TIMEOUT_MAX_S: Final = 7 * 86_400.0
BACKOFF_BASE_S: Final = 1.0  # 指数退避：上限 = base × 2^(attempt-1)，再取全抖动
BACKOFF_MAX_S: Final = 3_600.0
ISOLATION_S: Final = 10.0  # 可疑任务要独占进程：等在跑的结束，先等这么久，等不到就加倍
ISOLATION_MAX_S: Final = 3_600.0
ISOLATION_POLL_S: Final = 0.02
UNSERVED_DELAY_S: Final = 5.0  # 领到自己不服务的类型时推迟多久
SUSPECT_DELAY_S: Final = 1.0  # 没轮到的可疑任务推迟多久
VERSION_MAX: Final = 2**31 - 1  # 类型的版本存在 int4 列里
DELAY_MAX_S: Final = 10 * 365 * 86_400.0  # 最远可计划十年

# ── 输入上限 ──────────────────────────────────────────────────────────────
ARGS_MAX_BYTES: Final = 256 * 1024
ARGS_MAX_DEPTH: Final = 64
META_MAX_BYTES: Final = 16 * 1024
TASK_RAW_FACTOR: Final = 6  # 一个任务的 JSON 至多是其内容的几倍长：每个字符都写成六字节的转义
TASK_RAW_REST: Final = 64 * 1024  # 参数与 meta 之外的字段：标签、名字、时间
TAGS_MAX: Final = 20
NAME_MAX_CHARS: Final = 100  # 队列、类型、标签、计划的名字
TIME_YEARS: Final = (1970, 2999)  # 时间的年份范围；驱动读不回 1 年以前与 9999 年以后
RESULT_MAX_BYTES: Final = 1024 * 1024
ERROR_MESSAGE_MAX_CHARS: Final = 4_000
TRACEBACK_MAX_CHARS: Final = 16_000
BODY_MAX_BYTES: Final = 8 * 1024 * 1024
BATCH_BODY_MAX_BYTES: Final = 32 * 1024 * 1024
BATCH_MAX_TASKS: Final = 10_000
BATCH_COUNTED_MAX: Final = 100_000  # 太大的批最多数到这里；每个任务占 24 字节
QUEUES_MAX: Final = 20_000  # 队列数的上限：名字由提交者取，写错的程序能造出无数个
PAGE_SIZE_DEFAULT: Final = 20
PAGE_SIZE_MAX: Final = 100
TOTAL_EXACT_MAX: Final = 10_000  # 超过就只说 total_capped

# ── 提交 ──────────────────────────────────────────────────────────────────
GROUP_COMMIT_MAX_TASKS: Final = 500  # 一次组提交最多多少个
GROUP_COMMIT_FLUSHERS: Final = 2  # 两个并行，让 fsync 与 CPU 重叠
GROUP_COMMIT_QUEUE_MAX: Final = 20_000  # 等待组提交的上限，满了就拒绝
SUBMIT_CHUNK: Final = 1_000  # 批量提交时每条 INSERT 的行数
FLAG_MEMORY_S: Final = 0.25  # 记住「该流已满/失联」的时间，其间直接写 NULL
KIND_CACHE_S: Final = 5.0  # 提交方缓存 kinds 表的时间
QUEUE_KNOWN_S: Final = 60.0  # 提交方记住一个队列已经登记的时间；队列被删除之后最迟这么久重新登记

# ── 票据与流 ──────────────────────────────────────────────────────────────
TICKET_FIELD: Final = b"t"
STREAM_WINDOW: Final = 50_000  # 每个流最多多少张票据，其余由 stager 按序补
TICKET_CHUNK: Final = 5_000  # 一次 Lua 调用的票据数（Lua 的 unpack 有上限）
LANES_CHUNK: Final = 500  # 一次往返里问多少条道：再多不再省，只会让一次等待变长
SWEEP_COST_RATIO: Final = 25.0  # 遍查所有队列之后，歇这次用时的多少倍：闲着的调度器因此只花百分之几个核
SWEEP_MAX_S: Final = 15.0  # 再多队列也至少这么久遍查一次：Valkey 被清空后靠它重建
PENDING_IDLE_MS: Final = 10_000  # 待确认超过此时间的票据被丢弃并重发
LOST_TICKET_MARGIN_S: Final = 5.0
BROKER_TIMEOUT_S: Final = 5.0  # 建连接或一条 Valkey 命令的最长时间；大于 READ_BLOCK_MS
HINT_PING_S: Final = 5.0  # 订阅的连接上多久没有消息就探一下；再过这么久没有回音就重连
TICKET_SENDS_MAX: Final = 100  # 同时在途的送票数；再多就是 Valkey 跟不上，留给 stager
TICKET_HANG_S: Final = 0.5  # 一次送票这么久没有回音，后面的就不再送，留给 stager

# ── 工作进程 ──────────────────────────────────────────────────────────────
CONCURRENCY_DEFAULT: Final = 10
CONCURRENCY_MAX: Final = 10_000
READ_BLOCK_MS: Final = 2_000  # 阻塞读的上限，必须小于 socket 超时
READ_MAX: Final = 500  # 一次读取与认领的票据数上限
FETCHERS_FROM: Final = 100  # 并发从这么多起由两个读取者轮流领：一个在等认领，另一个就去读
TICK_S: Final = 0.1  # 超时与预取检查的精度
PREFETCH_FAST_S: Final = 0.1  # 平均运行时间低于此值才预取
PREFETCH_TARGET_S: Final = 0.05  # 预取的任务预计多久内开始
PREFETCH_MAX: Final = 100  # 预取的上限：再多也不再变快，只会抢别人的活
PREFETCH_MAX_WAIT_S: Final = 1.0  # 认领后未开始超过此时间就交还
SETTLE_DELAY_S: Final = 0.004  # 结算攒批的时间
SETTLE_MAX: Final = 2_000
SETTLERS: Final = 2
SETTLE_LOCK_MS: Final = 250  # 结算等别人的行锁的上限：自己人的锁毫秒级，等到这时多半是陌生人的长事务
SETTLE_LOCKED_RETRY_S: Final = 0.5  # 被锁着的行多久再试；它只耽误自己
SETTLE_CUT_S: Final = 1.0  # 停机时结算被取消后收尾的时限
SETTLING_S: Final = 1.0  # 结果这么久没写下，就随心跳报告：救援者不得当它超时
CUT_S: Final = 1.0  # 宽限过后，被取消的处理函数收尾的时限；停不下来的就此放手
IDLE_POLL_S: Final = 0.1  # 等在途任务结束时，多久看一次有没有被放弃的
UNSETTLED_MAX: Final = 20_000  # 数据库不在时内存里最多等多少个结果
RECONCILE_CHECK_S: Final = 1.0  # 多久看一次有没有结果不明的认领
RECONCILE_PERIOD_S: Final = 30.0  # 对照 running 行与内存的周期
LEASE_S: Final = 20.0
HEARTBEAT_S: Final = 5.0
HEARTBEATS_PER_LEASE: Final = 3  # 一个租约里至少续这么多次：丢一次、慢一次都不算死
DRAIN_GRACE_S: Final = 30.0
WORKER_LIVE_S: Final = 120.0  # 读取或续租这么久没有尝试过，存活探针才失败；重启救不回别人的数据库，却会打断在跑的任务
HEALTH_STOP_S: Final = 5.0  # 等健康端点的线程结束的时限
HEALTH_STOP_POLL_S: Final = 0.02
RECONNECT_FIRST_S: Final = 0.05  # 断线后第一次再试之前等多久，以后翻倍
RECONNECT_MAX_S: Final = 2.0  # 断线重连退避的上限
EXECUTOR_CLOSE_S: Final = 5.0  # 停机时等一个执行器关好的时限；插件的执行器也许会卡住
THREADS_MAX: Final = 64  # thread 执行器的线程数上限
THREADS_ABANDONED_MAX: Final = 64  # 这么多线程或协程超时、取消后一直不返回，就请外面换一个进程
STUBBORN_S: Final = 8.0  # 取消之后给处理函数清理的时间，过了就放弃它、名额给别人；比救援者的十秒早，结局由自己写

# ── 调度器的循环 ──────────────────────────────────────────────────────────
STAGER_PERIOD_S: Final = 0.25
CRON_PERIOD_S: Final = 0.5
SCHEDULER_BEAT_S: Final = 5.0  # 调度器多久说一次自己活着
SCHEDULER_LEAVE_S: Final = 1.0  # 停机时注销自己的时限；来不及就等租约到期
SCHEDULER_LEASE_S: Final = 20.0  # 这么久没说就当它没了：与工作进程的租约相同
RESCUER_PERIOD_S: Final = 1.0
KEY_GUARD_PERIOD_S: Final = 5.0  # 多久查一次有没有键被别的类型占用：它让一条队列停下，几秒可忍
KEY_GUARD_COST_RATIO: Final = 50.0  # 查得慢就查得稀：负载不过百分之二
FOREIGN_CHUNK: Final = 200  # 一次往返查几个队列的键，每个五键
AUDITOR_PERIOD_S: Final = 1.0
PRUNER_PERIOD_S: Final = 60.0
STAGE_BATCH: Final = 5_000
STAGE_LANE_MIN: Final = 10  # 道很多时，一条道一轮至少补这么多张
RESCUE_BATCH: Final = 1_000
CRON_BATCH: Final = 100
PRUNE_BATCH: Final = 5_000
AUDIT_BATCH: Final = 5_000
AUDIT_CONSUMERS_S: Final = 30.0  # 遍查所有队列、清理死去的消费者的周期；留着它们无害，只是占内存
CATCH_UP_DEFAULT_S: Final = 600.0  # 错过的触发在此窗口内补一次
CATCH_UP_MAX_S: Final = 7 * 86_400.0  # 补触发的窗口最长一周
CRON_LATE_S: Final = 10.0  # 晚到这么久以内的触发逐个补上，更早的算错过
SYNC_RETRY_S: Final = 5.0  # 插件的计划没同步成时多久后再试
CRON_RETRY_S: Final = 60.0  # 时间表算不出来时多久后再试
CRON_MAX_CHARS: Final = 200  # cron 表达式的长度上限
MISSED_COUNT_MAX: Final = 10_000  # 一次最多数多少个错过的 cron 触发，约 0.2 秒
DEADLINE_GRACE_S: Final = 10.0  # 超过截止多久后由救援者收回
REPORT_GRACE_S: Final = 5.0  # 截止后至少这么久又续过租，没报告有结果待写的才算真超时：容得下报告在路上的时间
PARTITION_DAYS_AHEAD: Final = 14
RETENTION_DAYS: Final = 14
QUEUE_RETENTION_MAX_S: Final = 10 * 365 * 86_400  # 队列保留期的上限；再长也不超过平台的保留天数
WORKER_KEEP_S: Final = 3_600.0  # 死去的工作进程行保留多久
INTERVAL_MIN_S: Final = 1.0
NEXT_FIRES_MAX: Final = 50
NEXT_FIRES_DEFAULT: Final = 5

# ── 接口与日志 ────────────────────────────────────────────────────────────
API_PREFIX: Final = "/api/v1"
PLUGINS_PREFIX: Final = "/plugins/"  # 插件自己的路由
API_PORT: Final = 8800
BODY_LOG_MAX_BYTES: Final = 50 * 1024
LOG_MESSAGE_MAX_CHARS: Final = 500  # 日志里一条错误的文字；全文在数据库里
TALLY_MAX: Final = 2_000  # 计数的标签组合上限：队列的名字谁都能造，指标不能跟着长
LOG_NAMES_MAX: Final = 10  # 一行日志里最多列出多少个名字
LOG_FIELD_MAX_CHARS: Final = 1_000  # 访问日志里路径、查询串、User-Agent 的长度上限
SECRET_NAMES_CACHED: Final = 1_024  # 字段名大多反复出现，判断一次就够
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
API_KEY_CACHE_S: Final = 5.0
API_KEY_CACHE_MAX: Final = 1_000  # 缓存的密钥数上限，防止乱试的密钥撑大内存
API_KEY_PREFIX_CHARS: Final = 8  # 列表里显示密钥的前几个随机字符，供人辨认
LISTEN_BACKLOG: Final = 2_048  # 等待 accept 的连接数，与 uvicorn 的默认值相同
SERVER_START_POLL_S: Final = 0.005  # 等接口开始监听的轮询间隔
BODY_IGNORED_MAX_BYTES: Final = 1024  # 不收请求体的操作最多读这么多来判断
REQUEST_ID_MAX_CHARS: Final = 100  # 客户端给的请求号超过此长度就不用
CLIENT_CLOSED_STATUS: Final = 499  # 访问日志里的状态：客户端先断开
LIST_TIMEOUT_S: Final = 5  # 一次列表查询的上限，超过就请用户缩小范围
LIST_LOCK_TIMEOUT: Final = "2s"  # 列表等锁的上限：比上一行短，等不到锁才不会被说成范围过大
RETRY_AFTER_S: Final = 1  # 503 的 Retry-After：一次重启或切换要几秒，客户端自会退避
BACKLOG_CHEAP_S: Final = 0.05  # 积压统计比这快就不缓存，总是最新
BACKLOG_COST_RATIO: Final = 10.0  # 积压统计的结果用多久：耗时的十倍，负载因此不过一成
DUE_SOON_S: Final = 60.0  # /scaling 把多久内到期的任务算作即将就绪
READY_TIMEOUT_S: Final = 2.0  # 就绪检查中每个依赖的时限
SCHEMA_WAIT_POLL_S: Final = 1.0  # migrate wait 查询的间隔；等的是分钟级的迁移
SCHEMA_CHECK_S: Final = 5.0  # 迁移版本已知相符时多久再查一次
STATS_MINUTES_DEFAULT: Final = 60
STATS_MINUTES_MAX: Final = 1_440
STATS_QUEUES_MAX: Final = 100  # 概览里最多列多少个队列，任务多的在前
METRICS_QUEUES_MAX: Final = 100  # 指标里最多给多少个队列各自的标签，其余合成一个：标签由提交者取，不能无限多
SHUTDOWN_GRACE_S: Final = 5.0
END_MARGIN_S: Final = 10.0  # 收到停止信号后，宽限之外最多再用这么久收尾；到时强行结束
END_HURRY_S: Final = 5.0  # 第二次信号之后、或事情都做完之后，最多再用这么久
END_CANCEL_S: Final = 1.0  # 结束时被取消的协程收尾的时限；吞掉取消的就丢下
END_LOG_S: Final = 1.0  # 强行结束之前写日志的时限：标准错误堵住了也不等
END_LOG_FRAMES: Final = 4  # 跑出事件循环的异常，日志里写最后几帧：够认出是谁抛的
SHUTDOWN_ANSWER_S: Final = 1.0  # 停止时被打断的请求：回答 503 之后还等它们收尾多久
FAREWELL_TURNS: Final = 5  # 停止前让事件循环再转几圈，够一个已有结果的请求醒来并答完
API_READY_S: Final = 4.0  # 独立端口上的就绪检查等主循环回答的时限；探针的超时通常是 5 秒
HTTP_HEADER_MAX_BYTES: Final = 64 * 1024  # 请求行与请求头合计；常见代理是 8–32 KB
HTTP_HEADERS_MAX: Final = 100  # 请求头的个数，与 Node、Apache 相近
HTTP_HEADER_FRAME: Final = 4  # 每个请求头的冒号、空格与换行
HTTP_HEADS_MAX_BYTES: Final = 16 * 1024 * 1024  # 所有连接里没收齐与没答完的请求头合计：256 个最大的；再多就断开占得最多的
HTTP_PIECE_BYTES: Final = 16 * 1024  # 一次交给解析器这么多：读一次可达 256 KB，其中的请求头只有解析之后才知道多长
HTTP_URL_MAX_BYTES: Final = 16 * 1024  # 请求行里的地址；列表的过滤条件远用不到
HTTP_HEADER_TIMEOUT_S: Final = 10.0  # 从连上（或上一个回答之后的第一个字节）到请求头收齐
HTTP_BODY_TIMEOUT_S: Final = 10.0  # 请求体的时限；之外按最低速率再给时间。对方不读回答也按它断开
HTTP_BODY_MIN_RATE: Final = 64 * 1024  # 每秒字节：512 kbit/s 的线路传得完 32 MB 的批量
HTTP_KEEP_ALIVE_S: Final = 5  # 与 uvicorn 的默认值相同
HTTP_CONNECTIONS_MAX: Final = 2_048  # 半截的请求头另有合计的上限
HTTP_CONNECTIONS_MIN: Final = 16  # 描述符再少，也留这么多个连接
HTTP_PROBE_CONNECTIONS: Final = 64  # 探针与抓取指标的端点只有几个客户端
HTTP_PIPELINE_MAX: Final = 16  # 一个连接上没等回答就发来的请求；浏览器与常见的客户端一个也不发
HTTP_EVICT_SHARE: Final = 16  # 满员时一次清走十六分之一
HTTP_DISCARD_MAX_BYTES: Final = 64 * 1024 * 1024  # 已经回答的请求，剩下的请求体最多读这么多来丢弃
HTTP_SWEEP_S: Final = 0.5  # 多久看一遍所有连接的时限
HTTP_TELL_S: Final = 10.0  # 拒绝与关闭的连接，多久汇总写一行
HTTP_REFUSALS_MAX: Final = 50  # 满员时同时还能回答多少个 503；再多就直接断开
HTTP_LINGER_S: Final = 1.0  # 拒绝之后留给对方读回答的时间
DESCRIPTORS_RESERVED: Final = 100  # 留给数据库、Valkey、日志与正在关闭的连接
BODIES_MAX_BYTES: Final = 64 * 1024 * 1024  # 同时在处理的请求体合计：两个最大的批量，约占五倍内存
API_LIVE_S: Final = 60.0  # 主循环这么久没有转过来，存活探针才失败；一条慢查询不会卡住循环

# ── 命令行 ────────────────────────────────────────────────────────────────
DURATION_MAX_S: Final = 36_500 * 86_400.0  # 命令行上的时长；再长，加在今天上就出了日历
CLI_TIMEOUT_S: Final = 60.0  # 等接口回答的最长时间：一万个任务的批量也够
CLI_WATCH_POLL_S: Final = 0.5  # task watch 查询的间隔
CLI_RECONNECT_S: Final = 300.0  # task watch 等一个不在的接口最多这么久：够滚动升级，又不至于永远挂着
DOCTOR_LINES_MAX: Final = 10  # doctor 对同一件事最多说这么多条
CLOCK_SKEW_MAX_S: Final = 1.0  # doctor 容忍的时钟偏差；票据与租约都以 PostgreSQL 的时钟为准

# ── 插件 ──────────────────────────────────────────────────────────────────
PLUGIN_GROUP: Final = "taskmill.plugins"
HOOKSPEC_API: Final = "1.0"
PLUGIN_START_BUDGET_S: Final = 5.0
PLUGIN_HEALTH_TIMEOUT_S: Final = 2.0
PLUGIN_BREAKER_FAILURES: Final = 3  # 连续失败这么多次就熔断
PLUGIN_BREAKER_OPEN_S: Final = 30.0  # 熔断多久后再试一次
PLUGIN_TRACE_FRAMES: Final = 4  # 日志里保留调用栈的最后几层
SECRET_MASK: Final = "***"  # 显示机密值时的替代文字  # noqa: S105

# ── 集群控制器 ────────────────────────────────────────────────────────────
LOOP_LIVE_S: Final = 300.0  # 循环多久没有转过来（不论成败）就算卡死；一轮里的语句各有自己的时限
OPERATOR_HEALTH_PORT: Final = 8802
OPERATOR_TICK_S: Final = 5.0  # 观察数据库并决定规模的周期
OPERATOR_WORKERS: Final = 8  # 同时对账的键数
OPERATOR_ROLLOUTS: Final = 5  # 同时滚动更新的队列数
OPERATOR_LEASE: Final = "taskmill-operator"

# ── 内嵌服务器（只用于开发与测试） ────────────────────────────────────────
DEV_PORTS: Final = (20_000, 32_000)  # 低于系统临时端口（32768 起），重启时不会被外连抢走
DEV_PORT_TRIES: Final = 50  # 随机挑端口的次数上限
DEV_POLL_S: Final = 0.01  # 等就绪、等退出的轮询间隔
DEV_START_TIMEOUT_S: Final = 60.0  # 崩溃恢复与加载 AOF 的最长时间
DEV_STOP_TIMEOUT_S: Final = 15.0  # 正常停止的最长时间，超过就强杀
DEV_PROBE_TIMEOUT_S: Final = 1.0  # 一次就绪探测
DEV_LOG_MAX_BYTES: Final = 10 * 1024 * 1024  # 超过就在下次启动时清空
DEV_LOG_TAIL_LINES: Final = 5  # 启动失败时随错误给出的日志行数
DEV_FOLDER: Final = ".taskmill"  # 内嵌服务器的数据与 run.json，位于当前目录
DEV_DRAIN_GRACE_S: Final = 5.0  # 开发时 Ctrl-C 要在十秒内停下
DEV_STOP_LIMIT_S: Final = 7.0  # 收到停止信号后一个角色最多还能拖多久，之后被取消
DEV_CANCEL_S: Final = 1.0  # 被取消的角色收尾的时间
DEMO_TIMEOUT_S: Final = 60.0  # 演示任务全部结束的最长时间
DEMO_POLL_S: Final = 0.2  # 演示查询任务状态的间隔
