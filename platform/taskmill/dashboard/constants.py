"""The dashboard's own numbers, each with its unit and reason."""

from __future__ import annotations

from typing import Final
from uuid import UUID

ROOT: Final = "/dashboard"
COOKIE: Final = "taskmill_session"
LANGUAGE_COOKIE: Final = "taskmill_lang"
THEME_COOKIE: Final = "taskmill_theme"
PREFERENCE_S: Final = 365 * 86_400  # 语言与主题记一年
FORM_MAX_BYTES: Final = 64 * 1024  # 一页选中的编号只有几千字节
SELECTED_MAX: Final = 100  # 一次动作至多多少个任务：一页的长度
SAMPLE: Final = 5  # 动手之前列出几个样本
PAGE_SIZE: Final = 50
FAILURES_SHOWN: Final = 6  # 概览里最近失败的任务
QUEUES_SHOWN: Final = 12  # 概览里的队列
ATTEMPTS_SHOWN: Final = 20  # 任务页上最近几次失败的尝试，回溯在内；全部的问接口
FIRES_SHOWN: Final = 5
TREND_HOURS: Final = (1, 6, 24, 168)  # 图可以看多远
OVERVIEW_HOURS: Final = 1  # 没有选的时候，概览上的图看多远：和上面那几个数是同一小时
QUEUE_HOURS: Final = 6  # 队列页上的：队列晚了，要看出是从什么时候起
JSON_SHOWN_MAX: Final = 32 * 1024  # 更长的 JSON 只显示开头，全文可以下载
TEXT_SHOWN_MAX: Final = 64 * 1024  # 回溯
STREAMS_OF_ONE: Final = 8  # 一个会话的：一个浏览器共用一条，换页时新旧重叠
STREAMS_MAX: Final = 256  # 同时多少条事件流；再多的页面改用轮询
HEARTBEAT_S: Final = 15.0  # 代理常在一分钟后掐断没有动静的连接
RETRY_MS: Final = 3_000  # 浏览器多久之后重连事件流
NEXT_MAX_CHARS: Final = 1_000  # 登录之后回到哪一页：地址的长度
FIRST: Final = UUID(int=(1 << 128) - 1)  # 从这里往下就是第一页：带着游标问，列表就不数总数
PLUGINS_MAX: Final = 100  # 一个进程装得下的插件，一页列完
