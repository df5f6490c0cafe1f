"""The engine's own numbers, each with its unit and reason; shared ones are in `taskmill.constants`."""

from __future__ import annotations

from typing import Final

# ── 数据库 ────────────────────────────────────────────────────────────────
EPOCH_LOCK_KEY: Final = 0x7461736B65706F63  # 重建票据流的咨询锁，"taskepoc"

# ── 任务 ──────────────────────────────────────────────────────────────────
ISOLATION_S: Final = 10.0  # 可疑任务要独占进程：等在跑的结束，先等这么久，等不到就加倍
ISOLATION_MAX_S: Final = 3_600.0
ISOLATION_POLL_S: Final = 0.02

# ── 输入上限 ──────────────────────────────────────────────────────────────
TRACEBACK_MAX_CHARS: Final = 16_000
FRAME_MAX_CHARS: Final = 200

# ── 票据与流 ──────────────────────────────────────────────────────────────
SWEEP_COST_RATIO: Final = 25.0  # 遍查所有队列之后，歇这次用时的多少倍：闲着的调度器因此只花百分之几个核
STAGE_ROUND_S: Final = 0.5  # 一轮补票至多这么久：几万条道都缺票时，刚到期的任务也不等它们
REBUILD_MAX: Final = 2_000  # 一轮至多重建多少个队列的流，理由相同
SWEEP_MIN_S: Final = 1.0  # 再快也不比这更勤：它只找没有行说得出的，而 Valkey 被清空之后，头一个任务两秒之内要能跑
SWEEP_MAX_S: Final = 15.0  # 再多队列、等服务器再久，也至少这么久遍查一次：Valkey 被清空、键被占用之后靠它重建
PENDING_IDLE_MS: Final = 10_000  # 待确认超过此时间的票据被丢弃并重发

# ── 工作进程 ──────────────────────────────────────────────────────────────
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
SETTLE_LOCKED_RETRY_S: Final = 0.5  # 被锁着的行多久再试；它只耽误自己
SETTLE_CUT_S: Final = 1.0  # 停机时结算被取消后收尾的时限
SETTLING_S: Final = 1.0  # 结果这么久没写下，就随心跳报告：救援者不得当它超时
CUT_S: Final = 1.0  # 宽限过后，被取消的处理函数收尾的时限；停不下来的就此放手
TROUBLES_MAX: Final = 20  # 一行里最多写几个插件、几种类型：行每次心跳都要重写
TROUBLE_CHARS: Final = 300
BROKER_TOLD_S: Final = 30.0  # 最近一次没读成之后还说多久：读不成时最多隔约十五秒就再试；不再去读的，不知道如今怎样
DECLINED_S: Final = 60.0  # 放回过的类型，说这么久：放回的任务五秒后还会再来
IDLE_POLL_S: Final = 0.1  # 等在途任务结束时，多久看一次有没有被放弃的
UNSETTLED_MAX: Final = 20_000  # 数据库不在时内存里最多等多少个结果
RECONCILE_CHECK_S: Final = 1.0  # 多久看一次有没有结果不明的认领
RECONCILE_PERIOD_S: Final = 30.0  # 对照 running 行与内存的周期
BLAME_BEATS: Final = 2  # 主循环接连几次不答应心跳，才算有处理函数堵住了它；两次在租约之内
WORKER_LIVE_S: Final = 120.0  # 读取或续租这么久没有尝试过，存活探针才失败；重启救不回别人的数据库，却会打断在跑的任务
RECONNECT_FIRST_S: Final = 0.05  # 断线后第一次再试之前等多久，以后翻倍
RECONNECT_MAX_S: Final = 2.0  # 断线重连退避的上限
MIDDLEWARE_S: Final = 5.0  # 插件的中间件启动或收尾的时限，与插件启动的预算相同
EXECUTOR_CLOSE_S: Final = 5.0  # 停机时等一个执行器关好的时限；插件的执行器也许会卡住
STUBBORN_S: Final = 8.0  # 取消之后给处理函数清理的时间，过了就放弃它、名额给别人；比救援者的十秒早，结局由自己写

# ── 调度器的循环 ──────────────────────────────────────────────────────────
CRON_PERIOD_S: Final = 0.5
LOOKOUT_AGE_S: Final = 0.3  # 上一眼看到的算多久：比 stager 最长的一轮略长，它不来了才自己看
LOOK_COST_RATIO: Final = 10.0  # 从头看一遍之后，这次用时的多少倍之内只看最近的：不到 20 毫秒的，每轮都从头看
LOOKOUT_TELL_S: Final = 0.15  # stager 忙的时候一轮接一轮，叫醒别人不必这么勤
SCHEDULER_BEAT_S: Final = 5.0  # 调度器多久说一次自己活着
SCHEDULER_LEAVE_S: Final = 1.0  # 停机时注销自己的时限；来不及就等租约到期
SCHEDULER_LEASE_S: Final = 20.0  # 这么久没说就当它没了：与工作进程的租约相同
RESCUER_PERIOD_S: Final = 1.0
KEY_GUARD_PERIOD_S: Final = 5.0  # 多久查一次有没有键被别的类型占用：它让一条队列停下，几秒可忍
KEY_GUARD_COST_RATIO: Final = 50.0  # 查得慢就查得稀：负载不过百分之二
AUDITOR_PERIOD_S: Final = 1.0
PRUNER_PERIOD_S: Final = 60.0
STAGE_BATCH: Final = 5_000
STAGE_LANE_MIN: Final = 10  # 道很多时，一条道一轮至少补这么多张
RESCUE_BATCH: Final = 1_000
CRON_BATCH: Final = 100
PRUNE_BATCH: Final = 5_000
AUDIT_BATCH: Final = 5_000
AUDIT_CONSUMERS_S: Final = 30.0  # 遍查所有队列、清理死去的消费者的周期；留着它们无害，只是占内存
LIMITER_PERIOD_S: Final = 0.5  # 放行者的周期：自己放行的不等它，新来的会叫醒它，它管漏下的与新有上限的
RELEASER_PERIOD_S: Final = 0.5  # 自己放行的不等它，用 SQL 提交的会叫醒它
RELEASE_BATCH: Final = 1_000  # 一轮看多少个序列、多少条依赖
MEND_PERIOD_S: Final = 5.0  # 多久找一段旧程序漏下的
LIMITER_MIN_S: Final = 0.02  # 令牌桶再快，也不比这更勤
LIMITER_REST_S: Final = 2.0  # 被挡的键都看过而没有放行的，至多歇这么久再看
LIMIT_LANES: Final = 50  # 一轮看多少条等着轮到公平键的道：每条要数一遍窗口
LIMIT_KEYS: Final = 1_000  # 一轮看多少个被挡的键
PLUGIN_LOOK_S: Final = 10.0  # 有插件还没起来（表没迁移好、超了时限）时，隔多久再看一次
SYNC_RETRY_S: Final = 5.0  # 插件的计划没同步成时多久后再试
CRON_RETRY_S: Final = 60.0  # 时间表算不出来时多久后再试
WORKER_KEEP_S: Final = 3_600.0  # 死去的工作进程行保留多久

# ── 接口与日志 ────────────────────────────────────────────────────────────
LOG_MESSAGE_MAX_CHARS: Final = 500  # 日志里一条错误的文字；全文在数据库里
TALLY_MAX: Final = 2_000  # 计数的标签组合上限：队列的名字谁都能造，指标不能跟着长
LOG_NAMES_MAX: Final = 10  # 一行日志里最多列出多少个名字

# ── 集群控制器 ────────────────────────────────────────────────────────────
LOOP_LIVE_S: Final = 300.0  # 循环多久没有转过来（不论成败）就算卡死；一轮里的语句各有自己的时限
LOOP_READY_S: Final = 30.0  # 一个循环这么久没有成功过一次，调度器就不算就绪
