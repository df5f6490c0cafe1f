"""The services' own numbers, each with its unit and reason; shared ones are in `taskmill.constants`."""

from __future__ import annotations

from typing import Final

# ── 数据库 ────────────────────────────────────────────────────────────────
LOOKUP_TIMEOUT_S: Final = 5.0  # 大家共用的一次查询（密钥、类型、积压）的最长时间，连同排队
LOOKUP_SHARE_S: Final = 1.0  # 一次密钥查询这么久没有结果，就另起一次：卡住的连接不连累别人
STARTUP_RETRY_S: Final = 0.25  # 启动时第一次重试的间隔，逐次加倍
STARTUP_RETRY_MAX_S: Final = 5.0
MIN_POSTGRES_VERSION: Final = 14
GC_THRESHOLDS: Final = (50_000, 20, 50)  # 默认 700 次分配就扫一遍在途对象：实测提交慢 40%，执行慢 25%

# ── 输入上限 ──────────────────────────────────────────────────────────────
TAGS_MAX: Final = 20

# ── 提交 ──────────────────────────────────────────────────────────────────
GROUP_COMMIT_MAX_TASKS: Final = 500  # 一次组提交最多多少个
GROUP_COMMIT_FLUSHERS: Final = 2  # 两个并行，让 fsync 与 CPU 重叠
GROUP_COMMIT_QUEUE_MAX: Final = 20_000  # 等待组提交的上限，满了就拒绝
DOOR_CHUNK: Final = 500  # 应用的 submit_many 一次存多少个：再多不再省，只让第一个订单来得更晚
SUBMIT_CHUNK: Final = 1_000  # 批量提交时每条 INSERT 的行数
UNIQUE_GROUP_MS: Final = 50  # 一组里有键被别的事务占着，等这么久就拆开，各等各的
UNIQUE_LOOK_MS: Final = 10  # 拆开之后每看一次占用连接的上限
UNIQUE_AGAIN_S: Final = 0.05  # 多久再看一次
KEYS_BEFORE_MAX: Final = 1_000  # 说一个任务为什么等时，至多数多少个公平键
LOG_KEYS_MAX: Final = 3  # 错误里至多点几个键的名
UNIQUE_WAIT_S: Final = 1.0  # 等一个被占着的键的最长时间，之后是 UNIQUE_BUSY
KIND_CACHE_S: Final = 5.0  # 提交方缓存 kinds 表的时间
QUEUE_KNOWN_S: Final = 60.0  # 提交方记住一个队列已经登记的时间；队列被删除之后最迟这么久重新登记

PREVIEW_KEYS: Final = 10  # 预演里列出被挡得最多的几个键
PREVIEW_MINUTES: Final = 60  # 预演按多久以来的平均执行时长估计
PREVIEW_MAX_S: Final = 366 * 86_400.0  # 估计到此为止：再远也没有意义
LIMIT_CACHE_S: Final = 5.0  # 提交方缓存哪些队列有上限的时间；过时了也无妨，领取时以表为准
PROMOTE_MAX: Final = 1_000  # 一次最多放行一个队列的多少个任务
ARM_CHUNK: Final = 100  # 刚提交的，一个事务里看多少个等的都结束了没有

# ── 等任务结束 ────────────────────────────────────────────────────────────
ENDS_FIRST_S: Final = 0.01  # 开始等之后多久看第一次，也是两次之间最短的间隔
ENDS_SHARE: Final = 0.25  # 之后每次再等已等时间的这么多：等得越久看得越稀，知道得晚至多四分之一
ENDS_MAX_S: Final = 0.25  # 看得再稀也不超过这么久一次
ENDS_REST: Final = 4.0  # 一次看了多久，就至少歇它的几倍：等的人再多，也只占一条连接的五分之一
ENDS_CHUNK: Final = 1_000  # 一条语句问多少个任务
ENDS_AWAY_S: Final = 1.0  # PostgreSQL 不在时多久再问

# ── 票据与流 ──────────────────────────────────────────────────────────────
TICKET_SENDS_MAX: Final = 100  # 同时在途的送票数；再多就是 Valkey 跟不上，留给 stager
TICKET_HANG_S: Final = 0.5  # 一次送票这么久没有回音，后面的就不再送，留给 stager

# ── 接口与日志 ────────────────────────────────────────────────────────────
API_KEY_CACHE_S: Final = 5.0
API_KEY_CACHE_MAX: Final = 1_000  # 缓存的密钥数上限，防止乱试的密钥撑大内存
API_KEY_PREFIX_CHARS: Final = 8  # 列表里显示密钥的前几个随机字符，供人辨认
BACKLOG_CHEAP_S: Final = 0.05  # 积压统计比这快就不缓存，总是最新
BACKLOG_GRACE_S: Final = 2.0  # 背后重算时，问的人至多多用上一次的结果这么久，另加下面这么多倍的耗时
BACKLOG_GRACE_RATIO: Final = 5.0
BACKLOG_COST_RATIO: Final = 10.0  # 积压统计的结果用多久：耗时的十倍，负载因此不过一成
READY_TIMEOUT_S: Final = 2.0  # 就绪检查中每个依赖的时限
SCHEMA_CHECK_S: Final = 5.0  # 迁移版本已知相符时多久再查一次
STATS_MINUTES_DEFAULT: Final = 60
STATS_MINUTES_MAX: Final = 1_440
GROUP_LOOKED: Final = 100  # 一组里有没有能动的任务，只看这么多次失败：页面每次刷新都要问；更大的组就当作有
GROUP_LOOKED_MAX: Final = 20_000  # 找一组里能动的任务，至多看这么多次失败
SERIES_MINUTES_MAX: Final = 10_080  # 图表最远看七天
SERIES_FINE_MINUTES: Final = 1_440  # 更长的图表，间隔是整小时：一天之前的汇总按小时
SERIES_POINTS: Final = 200  # 没有指定间隔时，一条曲线至多这么多个点
STATS_QUEUES_MAX: Final = 100  # 概览里最多列多少个队列，任务多的在前

# ── 为什么在等 ────────────────────────────────────────────────────────────
EXPLAIN_COUNT_MAX: Final = 10_000  # 前面有多少个，数到这里为止：再多也是「很多」，而要在几十毫秒里答完
EXPLAIN_IDS: Final = 10  # 占着空位的至多列出几个
PACE_MINUTES: Final = 5  # 按多久以来的快慢估计还要等多久
EXPIRES_SOON_S: Final = 60.0  # 离过期不到这么久就说

# ── 命令行 ────────────────────────────────────────────────────────────────
DOCTOR_LINES_MAX: Final = 10  # doctor 对同一件事最多说这么多条
DOCTOR_ASK_S: Final = 1.0  # doctor 问占着端口的是不是接口，最多等这么久
DOCTOR_ANSWER_MAX: Final = 4_096  # 读它的回答至多这么多字节：接口的只有一百多
CLOCK_SKEW_MAX_S: Final = 1.0  # doctor 容忍的时钟偏差；票据与租约都以 PostgreSQL 的时钟为准

# 失败的分组（services/tasks/failing.py）
FAILURE_FLUSH_S: Final = 1.0  # 多久写一次：一个热的组，每个进程每秒只改它一次
FAILURE_FLUSH_MAX_S: Final = 30.0  # 写不进去时，隔得再久也不超过这么久
FAILURE_CLOSE_S: Final = 2.0  # 收尾时最多等这么久
FAILURE_WAITING_MAX: Final = 1_000  # 写不进去时至多攒这么多组，再多的归进「其余」
