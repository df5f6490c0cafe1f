"""Numbers with a meaning, each with its unit and the reason for its value. Defaults of settings live here too."""

from __future__ import annotations

from typing import Final

# ── 数据库 ────────────────────────────────────────────────────────────────
SCHEMA: Final = "taskmill"  # 所有表所在的模式
MIGRATION_LOCK_KEY: Final = 0x7461736B6D696C6C  # pg_try_advisory_lock 的键，"taskmill" 的 ASCII
EPOCH_LOCK_KEY: Final = 0x7461736B65706F63  # 重建票据流的咨询锁，"taskepoc"
PARTITION_LOCK_KEY: Final = 0x7461736B70617274  # 建历史分区的咨询锁，"taskpart"
MIGRATION_LOCK_POLL_S: Final = 0.2  # 轮询间隔；阻塞等待会卡住 CREATE INDEX CONCURRENTLY
MIGRATION_LOCK_TIMEOUT_S: Final = 300.0  # 等另一个迁移进程的最长时间
MIGRATION_LOCK_TRIES: Final = 10  # DDL 等锁超时后整个迁移从停下处再来的次数
MIGRATION_LOCK_PAUSE_S: Final = 2.0  # 两次之间让业务先走
TERMINATION_MAX_BYTES: Final = 4_096  # Kubernetes 只读终止消息的前 4 KiB
MIGRATION_STATEMENT_LOCK_TIMEOUT: Final = "3s"  # DDL 等锁的上限，避免排队堵住业务
POOL_SIZE: Final = 10  # 每个进程的热路径连接数
ORM_POOL_SIZE: Final = 5  # 每个进程的 ORM 连接数；两者之和 ≤ 25
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
SUSPECT_FROM: Final = CRASH_BUDGET - 1  # 再崩一次就用完预算的任务可疑：一个工作进程同时只领一个
TIMEOUT_DEFAULT_S: Final = 600.0
TIMEOUT_MAX_S: Final = 7 * 86_400.0
BACKOFF_BASE_S: Final = 1.0  # 指数退避：上限 = base × 2^(attempt-1)，再取全抖动
BACKOFF_MAX_S: Final = 3_600.0
UNSERVED_DELAY_S: Final = 5.0  # 领到自己不服务的类型时推迟多久
SUSPECT_DELAY_S: Final = 1.0  # 没轮到的可疑任务推迟多久
VERSION_MAX: Final = 2**31 - 1  # 类型的版本存在 int4 列里
DELAY_MAX_S: Final = 10 * 365 * 86_400.0  # 最远可计划十年

# ── 输入上限 ──────────────────────────────────────────────────────────────
ARGS_MAX_BYTES: Final = 256 * 1024
ARGS_MAX_DEPTH: Final = 64
META_MAX_BYTES: Final = 16 * 1024
TAGS_MAX: Final = 20
NAME_MAX_CHARS: Final = 100  # 队列、类型、标签、计划的名字
TIME_YEARS: Final = (1970, 2999)  # 时间的年份范围；驱动读不回 1 年以前与 9999 年以后
RESULT_MAX_BYTES: Final = 1024 * 1024
ERROR_MESSAGE_MAX_CHARS: Final = 4_000
TRACEBACK_MAX_CHARS: Final = 16_000
BODY_MAX_BYTES: Final = 8 * 1024 * 1024
BATCH_BODY_MAX_BYTES: Final = 32 * 1024 * 1024
BATCH_MAX_TASKS: Final = 10_000
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

# ── 票据与流 ──────────────────────────────────────────────────────────────
TICKET_FIELD: Final = b"t"
STREAM_WINDOW: Final = 50_000  # 每个流最多多少张票据，其余由 stager 按序补
TICKET_CHUNK: Final = 5_000  # 一次 Lua 调用的票据数（Lua 的 unpack 有上限）
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
PREFETCH_FAST_S: Final = 0.1  # 平均运行时间低于此值才预取
PREFETCH_TARGET_S: Final = 0.05  # 预取的任务预计多久内开始
PREFETCH_MAX: Final = 100  # 预取的上限：再多也不再变快，只会抢别人的活
PREFETCH_MAX_WAIT_S: Final = 1.0  # 认领后未开始超过此时间就交还
SETTLE_DELAY_S: Final = 0.004  # 结算攒批的时间
SETTLE_MAX: Final = 2_000
SETTLERS: Final = 2
UNSETTLED_MAX: Final = 20_000  # 数据库不在时内存里最多等多少个结果
RECONCILE_PERIOD_S: Final = 30.0  # 对照 running 行与内存的周期
LEASE_S: Final = 20.0
HEARTBEAT_S: Final = 5.0
DRAIN_GRACE_S: Final = 30.0
WORKER_LIVE_S: Final = 120.0  # 读取或续租这么久没有尝试过，存活探针才失败；重启救不回别人的数据库，却会打断在跑的任务
HEALTH_STOP_S: Final = 5.0  # 等健康端点的线程结束的时限
RECONNECT_MAX_S: Final = 2.0  # 断线重连退避的上限
THREADS_MAX: Final = 64  # thread 执行器的线程数上限
THREADS_ABANDONED_MAX: Final = 64  # 这么多线程超时或取消后一直不返回，就请外面换一个进程

# ── 调度器的循环 ──────────────────────────────────────────────────────────
STAGER_PERIOD_S: Final = 0.25
CRON_PERIOD_S: Final = 0.5
RESCUER_PERIOD_S: Final = 1.0
AUDITOR_PERIOD_S: Final = 1.0
PRUNER_PERIOD_S: Final = 60.0
STAGE_BATCH: Final = 5_000
RESCUE_BATCH: Final = 1_000
CRON_BATCH: Final = 100
PRUNE_BATCH: Final = 5_000
AUDIT_BATCH: Final = 5_000
AUDIT_CONSUMERS_S: Final = 30.0  # 清理死去的消费者的周期；留着它们无害，只是占内存
CATCH_UP_DEFAULT_S: Final = 600.0  # 错过的触发在此窗口内补一次
CATCH_UP_MAX_S: Final = 7 * 86_400.0  # 补触发的窗口最长一周
CRON_LATE_S: Final = 10.0  # 晚到这么久以内的触发逐个补上，更早的算错过
SYNC_RETRY_S: Final = 5.0  # 插件的计划没同步成时多久后再试
CRON_RETRY_S: Final = 60.0  # 时间表算不出来时多久后再试
CRON_MAX_CHARS: Final = 200  # cron 表达式的长度上限
MISSED_COUNT_MAX: Final = 10_000  # 一次最多数多少个错过的 cron 触发，约 0.2 秒
DEADLINE_GRACE_S: Final = 10.0  # 超过截止多久后由救援者收回
PARTITION_DAYS_AHEAD: Final = 14
RETENTION_DAYS: Final = 14
PARTITION_LOCK_TIMEOUT: Final = "100ms"
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
TRUNCATED: Final = "... (truncated)"
LOG_FILE_MAX_BYTES: Final = 100 * 1024 * 1024
LOG_FILE_COUNT: Final = 10
LOG_FILE_MAX_AGE_S: Final = 86_400.0  # 一个日志文件最多写一天
LOG_FILE_MIN_AGE_S: Final = 60.0
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
LIST_TIMEOUT: Final = "5s"  # 一次列表查询的上限，超过就请用户缩小范围
BACKLOG_CHEAP_S: Final = 0.05  # 积压统计比这快就不缓存，总是最新
BACKLOG_COST_RATIO: Final = 10.0  # 积压统计的结果用多久：耗时的十倍，负载因此不过一成
DUE_SOON_S: Final = 60.0  # /scaling 把多久内到期的任务算作即将就绪
READY_TIMEOUT_S: Final = 2.0  # 就绪检查中每个依赖的时限
SCHEMA_WAIT_POLL_S: Final = 1.0  # migrate wait 查询的间隔；等的是分钟级的迁移
SCHEMA_CHECK_S: Final = 5.0  # 迁移版本已知相符时多久再查一次
STATS_MINUTES_DEFAULT: Final = 60
STATS_MINUTES_MAX: Final = 1_440
SHUTDOWN_GRACE_S: Final = 5.0

# ── 命令行 ────────────────────────────────────────────────────────────────
CLI_TIMEOUT_S: Final = 60.0  # 等接口回答的最长时间：一万个任务的批量也够
CLI_WATCH_POLL_S: Final = 0.5  # task watch 查询的间隔
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
KUBE_REQUEST_TIMEOUT_S: Final = 15.0  # 官方客户端的默认值是五分钟，卡住的请求会拖住整个键
KUBE_STATUS_WRITES: Final = 6  # 同时写的状态数：4–8 个最快（约 160 次/秒），再多只增加延迟
KUBE_WRITES: Final = 16  # 同时进行的其他写操作
KUBE_LIST_CHUNK: Final = 200  # 一页列表的对象数
KUBE_STREAM_IDLE_S: Final = 0.1  # kopf 为每个对象留一个协程等下一个事件（默认五秒），还抱着整个对象：列表时有几千个
KUBE_RELIST_S: Final = 300.0  # 多久完整列表一次，补上看守可能漏掉的
KUBE_RELIST_RETRY_S: Final = 5.0  # 列表失败后多久再试
KUBE_RELIST_STALE_S: Final = 960.0  # 这么久没列过表就算不健康：三个周期又一分钟
KUBE_FORBIDDEN_S: Final = 30.0  # 刚重启的 API 服务器会短暂答 403，持续这么久才当真
KUBE_RETRY_MIN_S: Final = 1.0
KUBE_RETRY_MAX_S: Final = 20.0  # 再长，API 恢复之后状态就要错半分钟
KUBE_WATCH_BACKOFFS: Final = (0.5, 1.0, 1.0, 2.0, 2.0, 2.0)  # 看守重连：API 停三十秒后三秒内恢复
KUBE_WATCH_GUARD_S: Final = 1.0  # 多久看一次各路看守是否都在
KUBE_WATCH_START_S: Final = 30.0  # 看守启动后这么久一路都没有，就重来
KUBE_WATCH_RESTART_S: Final = 1.0  # 看守线程意外退出后多久重启；接连退出就每次翻倍
KUBE_WATCH_RESTART_MAX_S: Final = 10.0  # 到此为止：再长，API 恢复之后状态就要错半分钟
KUBE_WATCH_STABLE_S: Final = 60.0  # 活过这么久再退出，不算接连
KUBE_WATCH_END_S: Final = 1.0  # 看守收尾的时限；它什么都不写，丢下也无妨
KUBE_CRD_POLL_S: Final = 5.0  # 等 CRD 装好的轮询间隔
KUBE_STATUS_PERIOD_S: Final = 15.0  # 只有数字变化时，多久写一次状态
KUBE_STATUS_DEFER_S: Final = 1.0  # 刚建好对象，等它们的回音再写状态的时间
KUBE_EVENT_SERIES_S: Final = 600.0  # 同样的事件在此时间内合并计数
KUBE_EVENT_MEMORY: Final = 2_000  # 记住多少种事件用于合并
KUBE_SECRET_REFRESH_S: Final = 300.0  # 没有打标签、看守不到的 Secret 多久读一次
KUBE_SECRET_MISSING_S: Final = 10.0  # 缺失的 Secret 多久再找一次
UNINSTALL_POLL_S: Final = 1.0  # 卸载时查看还剩什么的间隔
UNINSTALL_FORCE_S: Final = 60.0  # 强制删除之后再等多久
LEASE_DURATION_S: Final = 15.0  # 与 client-go 相同：租约 15 秒，10 秒续不上就放手，每 2 秒一试
LEASE_RENEW_S: Final = 10.0
LEASE_RETRY_S: Final = 2.0
SETTLED_POLL_S: Final = 0.05  # 释放租约之前，多久看一次动作是否都收了尾
LOOP_LIVE_S: Final = 300.0  # 循环多久没有转过来（不论成败）就算卡死；一轮里的语句各有自己的时限
WORKER_HEALTH_PORT: Final = 8801  # 写进工作进程 Pod 模板的探针端口
OPERATOR_HEALTH_PORT: Final = 8802
OPERATOR_TICK_S: Final = 5.0  # 观察数据库并决定规模的周期
OPERATOR_TICK_SLACK_S: Final = 0.05  # 差这么一点就算到点，免得为它再醒一次
OPERATOR_FIRST_LOOK_S: Final = 5.0  # 新主控最多等各数据库的第一眼这么久，否则每次重启都要把所有状态写两遍
SCALER_OWNS_S: Final = 1.0  # 接管副本数之后多久再看：空闲的 Deployment 自己不会再有变化来叫醒
DRIFT_PAUSE_MIN_S: Final = 5.0  # 别人反复改我们的字段：第一次立刻改回，之后间隔翻倍
DRIFT_PAUSE_MAX_S: Final = 30.0  # 状态在半分钟内总该正确
DRIFT_PEACE_S: Final = 600.0  # 太平这么久就忘掉
OPERATOR_DRAIN_TICK_S: Final = 1.0  # 有工作进程正在清空时，多久看一次它们
OPERATOR_POLICY_S: Final = 30.0  # 多久重读一次各队列的策略
OPERATOR_WORKERS: Final = 8  # 同时对账的键数
OPERATOR_ROLLOUTS: Final = 5  # 同时滚动更新的队列数
OPERATOR_LEASE: Final = "taskmill-operator"
OPERATOR_LAG_MAX_S: Final = 10.0  # 事件循环迟这么久就不健康
DATABASE_RETRY_MIN_S: Final = 1.0  # 数据库连不上时的退避
DATABASE_RETRY_MAX_S: Final = 10.0  # 再长，恢复之后状态就要错半分钟
COUNTERS_ANCHOR_S: Final = 3_600.0  # 计数起点多久往前挪一次，免得统计范围越来越大

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

# ── 控制器的计划（kube/plan.py 等） ───────────────────────────────────────
KUBE_REVISIONS: Final = 3  # 保留多少个旧的 ReplicaSet
KUBE_PROGRESS_S: Final = 600  # 滚动多久没有进展算卡住，与 Kubernetes 的默认值相同
KUBE_GRACE_MARGIN_S: Final = 30  # 收到 SIGTERM 后，收尾时限之外再留多久才强杀
MIGRATION_BACKOFF_MIN_S: Final = 60.0  # 迁移失败后自动再试：1 分钟起，每次翻倍
MIGRATION_BACKOFF_MAX_S: Final = 1_800.0  # 到 30 分钟为止
MIGRATION_JOBS_KEPT: Final = 3  # 每个数据库保留最近几个已结束的迁移 Job
DRAIN_ORDERS_MAX: Final = 100  # 一轮最多给多少个工作进程下收尾的命令
DRAIN_COST: Final = -1000  # 已收尾的 Pod 的删除代价：同样未就绪时先删它
DRAIN_SETTLE_S: Final = 3.0  # 时限已过的 Pod 标上删除代价后，等控制器的缓存也看到
DRAIN_QUIET_S: Final = 5.0  # 留下的 Pod 就绪与否多久没变才缩：比 ReplicaSet 控制器的缓存旧得多
UNREGISTERED_S: Final = 120.0  # 容器运行这么久还没有登记的工作进程，就不等它了
UNREACHABLE_S: Final = 20.0  # 数据库多久不答才算连不上；数据库重启的瞬间不算，半分钟内状态要说实话
CONDITION_MESSAGE_MAX: Final = 1_000  # 条件与事件的文字长度上限，字符
UNSCHEDULABLE_S: Final = 60.0  # 调度不上多久才算问题：节点自动扩容也要时间
RESTARTS_FAILING: Final = 3  # 容器重启这么多次还没就绪，算起不来
SCHEDULE_STATUS_S: Final = 60.0  # 计划的下次、上次触发多久抄进状态一次
RESYNC_S: Final = 300.0  # 无事时多久再看一遍

# ── 扩缩容（kube/scaler.py，每个数都由模拟器验证，见 docs/adr/0012） ───────
SCALER_TICK_S: Final = 5.0  # 决策周期
ARRIVALS_FAST_S: Final = 30.0  # 到达率快均值的时间常数：有任务在等时才用，跟得上突发
ARRIVALS_SLOW_S: Final = 120.0  # 慢均值：比快均值省一成多 Pod，噪声不再当成突发
SERVICE_PRIOR_S: Final = 20.0  # 还没有任务跑完时假定的平均执行时间
SERVICE_PRIOR_SAMPLES: Final = 20.0  # 跑完这么多个之前与先验混合
SERVICE_USUAL_TASKS: Final = 1_000.0  # 平均执行时间大约记住最近这么多个任务
SERVICE_RECENT_TASKS: Final = 50.0  # 有任务在等时也看最近这么多个：任务变长时马上知道
SERVICE_MIN_S: Final = 0.001  # 毫秒级任务的下限，防止除以零
ERLANG_SLOTS_MAX: Final = 500.0  # 占用超过这么多槽就不算 Erlang C：利用率的余量已够，也算得慢
TRACE_MAX_S: Final = 31 * 86_400.0  # 模拟器一次最多重放一个月
BOOT_PRIOR_S: Final = 30.0  # 还没量到时假定的 Pod 启动时间
BOOT_FALL: Final = 0.02  # 量到更短的启动时间时，每拍只走这么多：约四分钟
