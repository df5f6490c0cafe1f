"""What the command line says is wrong, in both languages: the reasons of `usage`, and of a target that does not answer.

Example: `raise usage(phrases.NOT_A_DURATION(where="--in", value="soon"))`
"""

from __future__ import annotations

from typing import Final

from taskmill.words import Words

# 参数依次是中文、英文
NO_COMMAND: Final = Words("没有命令 {name}{hint}", "no command {name}{hint}")
DID_YOU_MEAN: Final = Words("；是否想用 {names}？", "; did you mean {names}?")
SINCE: Final = Words("：{reason}", ": {reason}")
NOT_A_DURATION: Final = Words(
    "{where}：不是 30s、5m、2h 这样的时长：{value}", "{where}: not a duration such as 30s, 5m, 2h: {value}"
)
TOO_LONG: Final = Words("{where}：最长 {limit}", "{where}: at most {limit}")
NOT_A_TIME: Final = Words(
    "{where}：不是 2030-01-31T08:00+08:00 这样的时间：{value}", "{where}: not a time such as 2030-01-31T08:00+08:00: {value}"
)
NOT_A_NAME: Final = Words("不是名字：{value}", "not a name: {value}")
NOT_AN_HTTP_URL: Final = Words("不是 http 地址：{value}", "not an http URL: {value}")
NOT_TASKMILL: Final = Words("HTTP {status}，不是 Taskmill 的接口", "HTTP {status}, not Taskmill")
NO_FILE: Final = Words("{file}：没有这个文件", "{file}: there is no such file")
NO_ACCESS: Final = Words("{file}：没有读它的权限", "{file}: there is no right to read it")
A_FOLDER: Final = Words("{file}：是目录，不是文件", "{file}: a folder, not a file")
FILE_UNREADABLE: Final = Words("{file} 读不了：{error}", "{file} cannot be read: {error}")
RUN_FILE_BROKEN: Final = Words("{file} 不是完整的 run.json：{error}", "{file} is no whole run.json: {error}")
CRON_OR_EVERY: Final = Words("--cron 与 --every 须给出且只给一个", "give exactly one of --cron and --every")
REVISION_OR_PHASE: Final = Words("--revision 与 --phase 不能同时给出", "--revision and --phase exclude each other")
NO_POLICY: Final = Words("请给出要设置的选项，见 --help", "give what to set, see --help")
NOT_A_RATE: Final = Words(
    "{name} 形如 100/1m 或 100/1m/20（次数、时长、一阵至多几个）：{value}",
    "{name} looks like 100/1m or 100/1m/20 (starts, duration, most at once): {value}",
)
MISSING_PACKAGE: Final = Words(
    "缺少依赖 {name}：pip install 'taskmill[operator]'", "{name} is missing: pip install 'taskmill[operator]'"
)
NO_LOAD: Final = Words(
    "没有文件或现成的负载 {name}；现成的有 {names}", "no file and no made-up load {name}; there are {names}"
)
NO_RIVAL: Final = Words("没有对手 {name}；有 {names}", "no rival {name}; there are {names}")
NOT_YAML: Final = Words("{file} 不是 YAML：{error}", "{file} is not YAML: {error}")
NOT_A_TASK_QUEUE: Final = Words("{file} 不是 TaskQueue", "{file} is not a TaskQueue")
SPEC_UNFIT: Final = Words("{file} 的 spec 不能用：{error}", "the spec of {file} cannot be used: {error}")

# 解析命令行时 click 说的话；它自己只会英文
MISSING: Final = Words("缺少 {name}{known}", "{name} is missing{known}")
CHOICES: Final = Words("，可选 {names}", ", choose from {names}")
NO_OPTION: Final = Words("没有选项 {name}{hint}", "no option {name}{hint}")
NOT_OF: Final = Words("{name}：{value} 不在可选之列：{names}", "{name}: {value} is none of {names}")
OUT_OF_RANGE: Final = Words("{name}：须是 {low} 到 {high} 的数", "{name}: must be a number within {low} and {high}")
AT_LEAST: Final = Words("{name}：须是不小于 {low} 的数", "{name}: must be a number of at least {low}")
NOT_A_NUMBER: Final = Words("{name}：须是数字", "{name}: must be a number")
BAD_PATH: Final = Words("{name}：路径不能用：{error}", "{name}: the path cannot be used: {error}")
BAD_VALUE: Final = Words("{name} 的值不能用：{error}", "the value of {name} cannot be used: {error}")
NEEDS_A_VALUE: Final = Words("选项 {name} 后面要有值", "the option {name} needs a value")
TAKES_NO_VALUE: Final = Words("选项 {name} 不带值", "the option {name} takes no value")
TOO_MANY: Final = Words("多余的参数：{names}", "arguments too many: {names}")
OTHER: Final = Words("命令行不能理解（{error}）", "{error}")

# 接口说的是请求头；用命令的人要知道的是变量与选项
KEY_NEEDED: Final = Words(
    "用 TASKMILL_API_TOKEN 或 --token 给出密钥，创建：taskmill key create NAME；接口是 taskmill dev 的，就在它的 .taskmill 所在目录执行，或取 run.json 里的令牌",
    "give a key by TASKMILL_API_TOKEN or --token, made with taskmill key create NAME; if the API is a taskmill dev's, work in the folder of its .taskmill or take the token of run.json",
)
KEY_NOT_READ: Final = Words(
    "没有人读 TASKMILL_API_KEY：用 TASKMILL_API_TOKEN 或 --token 给出密钥",
    "nobody reads TASKMILL_API_KEY: give the key by TASKMILL_API_TOKEN or --token",
)

# 命令自己打印的
NOT_KNOWN: Final = Words("没有人登记过 {name}。{hint}", "nobody registered {name}. {hint}")
NO_ANSWER: Final = Words("没有人回答；加 --yes 就不再问", "nobody answers; --yes goes on without asking")
NEXT_OF_PAUSED: Final = Words(
    "计划 {name} 已暂停，恢复之前都不会触发：taskmill schedule resume {name}",
    "the schedule {name} is paused: none of these comes before taskmill schedule resume {name}",
)
NO_SCHEDULER: Final = Words(
    "没有活着的调度器：延时、重试、定时的任务不会开始；taskmill scheduler",
    "no scheduler lives: delayed, retried and scheduled tasks do not start; taskmill scheduler",
)
DEV_TOKEN: Final = Words("开发令牌（仅限本机）：{token}", "development token (this machine only): {token}")
DASHBOARD_LINK: Final = Words(
    "界面（仅限本机，十分钟内，一次）：{link}", "dashboard (this machine only, within ten minutes, once): {link}"
)
OUT_OF_DATE: Final = Words("{name}：已过期，运行 make generate", "{name}: out of date, run make generate")
BENCH_TITLE: Final = Words(
    "{workload}：{cpu}，{cores} 核，PostgreSQL {postgres}", "{workload}: {cpu}, {cores} cores, PostgreSQL {postgres}"
)
FIGURE: Final = Words("指标", "figure")
MEDIAN: Final = Words("中位数", "median")
NOT_UNIQUE_ALONE: Final = Words("--not-unique 不与其他 --unique 选项同用", "--not-unique goes with no other --unique option")
