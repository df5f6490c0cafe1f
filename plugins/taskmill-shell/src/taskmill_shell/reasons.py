"""What the plugin says to people, in both languages; facts are filled in: `reasons.NAME(fact=…)`."""

from __future__ import annotations

from typing import Final

from taskmill.plugin import Words

NOT_ABSOLUTE: Final = Words("allow：{path} 不是绝对路径", "allow: {path} is not an absolute path")
NOT_ALLOWED: Final = Words(
    "{program} 不在 TASKMILL_PLUGIN_SHELL_ALLOW 里", "{program} is not in TASKMILL_PLUGIN_SHELL_ALLOW"
)
NOT_EXECUTABLE: Final = Words("{program} 在此处无法执行", "{program} cannot be executed here")
VARIABLES: Final = Words(
    "环境变量不在 TASKMILL_PLUGIN_SHELL_ENV_ALLOW 里：{names}", "variables not in TASKMILL_PLUGIN_SHELL_ENV_ALLOW: {names}"
)
NUL: Final = Words("参数或环境变量含 NUL", "NUL in an argument or a variable")
TIMEOUT_ABOVE: Final = Words("timeout_s 超过上限 {limit}", "timeout_s is above {limit}")
NOT_DONE: Final = Words("{seconds} 秒内未完成：{left}{tail}", "not done within {seconds} s: {left}{tail}")
NOT_IN_ORDER: Final = Words("命令没有正常结束：{left}{tail}", "the command did not end in order: {left}{tail}")
EXIT_CODE: Final = Words("退出码 {code}：{left}{tail}", "exit code {code}: {left}{tail}")
NOT_STARTED: Final = Words("命令无法启动：{error}", "the command cannot be started: {error}")
LEFT: Final = Words("进程 {pids} 无法终止；", "processes {pids} could not be killed; ")
NOTHING: Final = Words("", "")
