"""Settings of the plugin, `TASKMILL_PLUGIN_SHELL_*`, and its limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec

from taskmill.errors import UnfitError
from taskmill_shell import reasons

TIMEOUT_DEFAULT_S: Final = 60.0
TIMEOUT_MAX_S: Final = 3_600.0
TIMEOUT_MARGIN_S: Final = 30.0  # 任务的期限比命令的期限多这么多，留给终止与收尾
KILL_GRACE_S: Final = 5.0  # TERM 之后多久 KILL
KILL_WAIT_S: Final = 4.0  # 等启动器杀完并退出；它自己等 2 秒，再多就是它卡住了
DRAIN_S: Final = 1.0  # 后代全部结束后，等管道关闭的时间（杀不掉的可能占着它）
OUTPUT_DEFAULT_BYTES: Final = 64 * 1024  # 结果进数据库，默认只留开头
OUTPUT_MAX_BYTES: Final = 200 * 1024  # 一路；JSON 转义后两路合计超过结果上限时再截
RESULT_MAX_BYTES: Final = 1024 * 1024  # 没有上下文时的结果上限
MEMORY_MAX_BYTES: Final = 1024 * 1024 * 1024
MEMORY_MIN_BYTES: Final = 64 * 1024 * 1024  # 启动器自己也要内存
ARGUMENTS_MAX: Final = 1_000
CHUNK_BYTES: Final = 64 * 1024  # 一次读取，等于 Linux 管道的容量
REASON_MAX_CHARS: Final = 500  # 失败原因里引用的标准错误末尾
PATH: Final = "/usr/local/bin:/usr/bin:/bin"


class ShellConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What may be run, with which variables, and within which limits (seconds, bytes)."""

    allow: list[str] = []
    env_allow: list[str] = []
    env_inherit: list[str] = []
    work_dir: Path | None = None
    timeout_max_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = TIMEOUT_MAX_S
    kill_grace_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = KILL_GRACE_S
    output_max_bytes: Annotated[int, msgspec.Meta(ge=0)] = OUTPUT_MAX_BYTES
    memory_max_bytes: Annotated[int, msgspec.Meta(ge=MEMORY_MIN_BYTES)] = MEMORY_MAX_BYTES

    def __post_init__(self) -> None:
        for path in self.allow:
            if not Path(path).is_absolute():
                raise UnfitError(reasons.NOT_ABSOLUTE(path=repr(path)))
