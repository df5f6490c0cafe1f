"""The numbers of the dashboard's services, each with its unit and reason."""

from __future__ import annotations

from typing import Final

TOKEN_BYTES: Final = 32
SEEN_EVERY_S: Final = 60.0  # 会话「最近使用」最多这么久写一次：每次点击都写一行不值得
AGENT_MAX_CHARS: Final = 200  # 记下的 User-Agent 的长度
LINK_LIVES_S: Final = 600.0  # 一次性链接的有效期：打印出来就是要马上点的
FAILURES_MAX: Final = 10  # 一个地址在一段时间里至多试错这么多次
FAILURES_WINDOW_S: Final = 60.0
ADDRESSES_MAX: Final = 10_000  # 记住多少个试错的地址；再多就忘掉最早的
PULSE_S: Final = 1.0  # 多久看一次变化；没有人看着就不看
PULSE_COST_RATIO: Final = 10.0  # 看一次花了多久，至少歇它的几倍：负载不过一成
SUMS_S: Final = 1.0  # 概览的合计用多久：再多的页面也只算一次
TRENDS_MAX: Final = 200  # 记住多少张图的数（一个队列一段时间是一张）；再多就忘掉最久没人看的
QUEUES_SUMMED: Final = 100  # 概览里为「需要注意」看多少个队列
NAMES_S: Final = 5.0  # 补全用的名字用多久：新的队列晚几秒出现无妨
NAMES_MAX: Final = 1_000  # 补全至多认得多少个队列、多少个类型；再多的照样打得出来
