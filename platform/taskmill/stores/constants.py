"""The stores' own numbers, each with its unit and reason; shared ones are in `taskmill.constants`."""

from __future__ import annotations

from typing import Final

# ── 数据库 ────────────────────────────────────────────────────────────────
MIGRATION_LOCK_KEY: Final = 0x7461736B6D696C6C  # pg_try_advisory_lock 的键，"taskmill" 的 ASCII
QUEUES_LOCK_KEY: Final = 0x7461736B71756575  # 数队列的咨询锁，"taskqueu"：同时新建的互相看得见，上限才数得准
MIGRATION_LOCK_POLL_S: Final = 0.2  # 轮询间隔；阻塞等待会卡住 CREATE INDEX CONCURRENTLY
MIGRATION_LOCK_TRIES: Final = 10  # DDL 等锁超时后整个迁移从停下处再来的次数
MIGRATION_LOCK_PAUSE_S: Final = 2.0  # 两次之间让业务先走
MIGRATION_STATEMENT_LOCK_TIMEOUT: Final = "3s"  # DDL 等锁的上限，避免排队堵住业务
POOL_MAX_QUERIES: Final = 50_000  # 一条连接用这么多次就换新，asyncpg 的默认值
POOL_IDLE_S: Final = 300.0  # 闲置这么久就关掉，asyncpg 的默认值
POOL_WAIT_S: Final = 5  # 等连接池空出一条的最长时间，连同新建它
LONG_COMMAND_TIMEOUT_S: Final = 60.0  # 清理与分区的语句：没有人等它们，别的循环各有自己的连接
CANCEL_TIMEOUT_S: Final = 2.0  # 语句超时或被取消之后，等服务器应答撤销的时间；不应答的连接是死的
LINK_FRESH_S: Final = 1.0  # 连接比这还新而服务器仍只读：重连也没有用，免得空转
IDLE_TRANSACTION_MS: Final = 12_000  # 服务器替我们结束闲着的事务：失联的连接留下的行锁最多挡这么久
CLOSE_TIMEOUT_S: Final = 2.0  # 好好道别的最长时间，之后直接切断
SLOW_REPEAT_S: Final = 10.0  # 同一条慢语句至多这么久写一行：服务器卡住时条条都慢
SLOW_NAME_MAX: Final = 160  # 没有名字的语句写开头这么多字
SLOW_NAMES_MAX: Final = 500  # 记着多少条语句说过；没有名字的可以无穷多
TCP_KEEPALIVE_IDLE_S: Final = 10  # 闲置多久开始探测；比常见的 NAT 与防火墙的闲置时限短得多
TCP_KEEPALIVE_INTERVAL_S: Final = 3
TCP_KEEPALIVE_COUNT: Final = 3
TCP_USER_TIMEOUT_MS: Final = 10_000  # 发出的数据这么久没有确认，内核就断开；默认约 15 分钟

# ── 任务 ──────────────────────────────────────────────────────────────────
UNSERVED_DELAY_S: Final = 5.0  # 领到自己不服务的类型时推迟多久
SUSPECT_DELAY_S: Final = 1.0  # 没轮到的可疑任务推迟多久

IDEMPOTENCY_HOURS: Final = 24  # 重复的请求在这么久之内得到原来的回答
UNIQUE_TRIES: Final = 5  # 键的主人正好在看它之前结束了，就再来一次

TURN_ROUNDS: Final = 20  # 一次放行里至多转几圈；余下的归下一次：键多寡悬殊才转得到这么多圈

# ── 序列与依赖 ────────────────────────────────────────────────────────────
SEQUENCE_KEEP_US: Final = 60_000_000  # 空了的序列至少再留这么久：号码才总比清掉之前的大
ARM_MAX: Final = 1_000  # 一个事务里至多看多少条依赖
CHILDREN_MAX: Final = 1_000  # 结束一个任务的事务里至多放行多少个等它的，再多就留给调度器
CASCADE_MAX: Final = 20  # 一个事务里取消传多少层，再深就留给调度器

# ── 失败的分组 ────────────────────────────────────────────────────────────
FAILURE_GROUPS_MAX: Final = 200  # 清理给一种类型留下这么多组，最近失败过的：文字各不相同的错误不能把表撑大
FAILURE_GROUPS_FULL: Final = 400  # 两次清理之间至多这么多组，再多的归进「其余」
FAILURE_QUEUES_MAX: Final = 20  # 一组至多记住几个队列的名字
FAILURE_LOCK_MS: Final = 1_000  # 等一组失败的行锁的上限：之后攒着再试
FAILURE_TASKS_MAX: Final = 10  # 一组记住最近的几个任务

# ── 汇总 ──────────────────────────────────────────────────────────────────
ROLLUP_DAYS: Final = 7  # 小时行至少留这么多天：图表最远看到这里
ROLLUP_HOURS: Final = 26  # 分钟行至少留这么多小时：一天以内的图表按分钟看，其间隔最多再往前一小时
ROLLUP_HOURS_LOOK: Final = 72  # 合成小时的往回看这么久：没合上的（调度器停了更久）只是多几行
ROLLUP_CLOSED_MINUTES: Final = 10  # 过了这么久的分钟不再有人写：各写入者的行合成一行
ROLLUP_LOOK_MINUTES: Final = 120  # 往回看这么久：没合上的（调度器停了更久）只是多几行

# ── 票据与流 ──────────────────────────────────────────────────────────────
TICKET_FIELD: Final = b"t"
TICKET_CHUNK: Final = 5_000  # 一次 Lua 调用的票据数（Lua 的 unpack 有上限）
LANES_CHUNK: Final = 500  # 一次往返里问多少条道：再多不再省，只会让一次等待变长
BROKER_TIMEOUT_S: Final = 5.0  # 建连接或一条 Valkey 命令的最长时间；大于 READ_BLOCK_MS
HINT_PING_S: Final = 5.0  # 订阅的连接上多久没有消息就探一下；再过这么久没有回音就重连

# ── 工作进程 ──────────────────────────────────────────────────────────────
SETTLE_LOCK_MS: Final = 250  # 结算等别人的行锁的上限：自己人的锁毫秒级，等到这时多半是陌生人的长事务

# ── 调度器的循环 ──────────────────────────────────────────────────────────
FOREIGN_CHUNK: Final = 200  # 一次往返查几个队列的键，每个五键
REPORT_GRACE_S: Final = 5.0  # 截止后至少这么久又续过租，没报告有结果待写的才算真超时：容得下报告在路上的时间

# ── 接口与日志 ────────────────────────────────────────────────────────────
LIST_TIMEOUT_S: Final = 5  # 一次列表查询的上限，超过就请用户缩小范围
LIST_SHAPES_MAX: Final = 500  # 记着多少种列表的语句；一条约 2 KB，现拼一条也只要几十微秒
LIST_LOCK_TIMEOUT: Final = "2s"  # 列表等锁的上限：比上一行短，等不到锁才不会被说成范围过大
