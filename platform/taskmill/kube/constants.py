"""Numbers that only the operator uses, each with its unit and reason; those that it shares are in `taskmill.constants`."""

from __future__ import annotations

from typing import Final

# ── 集群控制器 ────────────────────────────────────────────────────────────
KUBE_REQUEST_TIMEOUT_S: Final = 15.0  # 官方客户端的默认值是五分钟，卡住的请求会拖住整个键
KUBE_STATUS_WRITES: Final = 6  # 同时写的状态数：4–8 个最快（约 160 次/秒），再多只增加延迟
KUBE_WRITES: Final = 16  # 同时进行的其他写操作
KUBE_LIST_CHUNK: Final = 200  # 一页列表的对象数
CLAIM_RENEW_S: Final = 60.0  # 多久续一次对一个命名空间的认领：停得不干净的控制器，两分钟后别的就能接管
CLAIM_RENEW_MAX_S: Final = 300.0  # 命名空间多了就续得稀一些，到此为止
CLAIM_WRITES_PER_S: Final = 0.5  # 所有认领一共每秒最多写这么多次；150 个命名空间以内做得到
CLAIM_MISSED: Final = 2  # 几次没续上才算到期；续不上时每 CLAIM_RETRY_S 再试
CLAIM_DURATION_MAX_S: Final = 900.0  # 租约上没写多久时，当作这么久
CLAIM_LOOK_S: Final = 30.0  # 别人管着时、或不许我们看时，多久看一眼
CLAIM_RETRY_S: Final = 5.0  # 一时问不到，多久再问
CLAIM_KEEP_S: Final = 2.0  # 多久看一次哪些该续、哪些该交还：卸载前删掉最后一个对象，随即就交还
KUBE_LOST_RETRY_S: Final = 30.0  # 读不了的命名空间多久再试一次；权限回来之后一分钟内要照看起来
KUBE_EVENTS_READ: Final = 50  # 问一个对象的事件时最多读几条；同一件事合并成一条
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
LEASE_RELEASE_S: Final = 3.0  # 停止时释放租约最多等这么久：服务器不答，租约自会到期，进程不能为它误了时限
UNINSTALL_POLL_S: Final = 1.0  # 卸载时查看还剩什么的间隔
UNINSTALL_TRIES: Final = 10  # API 服务器暂时不答，列表再试这么多次
UNINSTALL_WORDS_MAX: Final = 4_096  # 终止消息的长度上限，字节：Kubernetes 只留这么多
UNINSTALL_FORCE_S: Final = 60.0  # 强制删除之后再等多久
LEASE_DURATION_S: Final = 15.0  # 与 client-go 相同：租约 15 秒，10 秒续不上就放手，每 2 秒一试
LEASE_RENEW_S: Final = 10.0
LEASE_RETRY_S: Final = 2.0
SETTLED_POLL_S: Final = 0.05  # 释放租约之前，多久看一次动作是否都收了尾
WORKER_HEALTH_PORT: Final = 8801  # 写进工作进程 Pod 模板的探针端口
OPERATOR_TICK_SLACK_S: Final = 0.05  # 差这么一点就算到点，免得为它再醒一次
OPERATOR_FIRST_LOOK_S: Final = 5.0  # 新主控最多等各数据库的第一眼这么久，否则每次重启都要把所有状态写两遍
SCALER_OWNS_S: Final = 1.0  # 接管副本数之后多久再看：空闲的 Deployment 自己不会再有变化来叫醒
DRIFT_PAUSE_MIN_S: Final = 5.0  # 别人反复改我们的字段：第一次立刻改回，之后间隔翻倍
DRIFT_PAUSE_MAX_S: Final = 30.0  # 状态在半分钟内总该正确
DRIFT_PEACE_S: Final = 600.0  # 太平这么久就忘掉
OPERATOR_DRAIN_TICK_S: Final = 1.0  # 有工作进程正在清空时，多久看一次它们
OPERATOR_POLICY_S: Final = 30.0  # 多久重读一次各队列的策略
OPERATOR_LAG_MAX_S: Final = 10.0  # 事件循环迟这么久就不健康
DATABASE_RETRY_MIN_S: Final = 1.0  # 数据库连不上时的退避
DATABASE_RETRY_MAX_S: Final = 10.0  # 再长，恢复之后状态就要错半分钟
COUNTERS_ANCHOR_S: Final = 3_600.0  # 计数起点多久往前挪一次，免得统计范围越来越大

# ── 控制器的计划（plan/ 等） ───────────────────────────────────────
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
BROKER_AWAY_S: Final = 15  # 工作进程多久问不到 Valkey 才算；重启的瞬间不算
UNREACHABLE_S: Final = 20.0  # 数据库多久不答才算连不上；数据库重启的瞬间不算，半分钟内状态要说实话
CONDITION_MESSAGE_MAX: Final = 1_000  # 条件与事件的文字长度上限，字符
UNSCHEDULABLE_S: Final = 60.0  # 调度不上多久才算问题：节点自动扩容也要时间
JOB_POD_S: Final = 5.0  # 迁移 Job 开始这么久还没有 Pod，就问事件
JOB_LOOK_S: Final = 10.0  # 没有 Pod 的迁移 Job 多久看一次事件：配额与策略的话只写在那里
RESTARTS_FAILING: Final = 3  # 容器重启这么多次还没就绪，算起不来
SCHEDULE_STATUS_S: Final = 60.0  # 计划的下次、上次触发多久抄进状态一次
RESYNC_S: Final = 300.0  # 无事时多久再看一遍

# ── 扩缩容（scale/，每个数都由模拟器验证，见 docs/adr/0012） ───────
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
