"""`.taskmill/run.json` of a running `taskmill dev`, found upwards from the working directory."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from taskmill import constants as c
from taskmill.cli import phrases
from taskmill.cli.language import words
from taskmill.cli.output import say
from taskmill.errors import Code, InputError

if TYPE_CHECKING:
    from taskmill.settings import Settings

RUN_FILE = Path(c.DEV_FOLDER) / "run.json"
SERVERS = ("database_url", "broker_url")


@dataclass(frozen=True, slots=True)
class Running:
    """What a `taskmill dev` says of itself; the servers' URLs are None in files of older versions."""

    path: Path
    api_url: str
    token: str
    pid: int | None
    database_url: str | None
    broker_url: str | None
    plugin_settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Say whether the process is still there: a kill leaves the file behind."""
        if self.pid is None:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def find_running(start: Path) -> Running | None:
    """Return the nearest file from `start` upwards, None if there is none; InputError USAGE if it cannot be read."""
    for folder in (start, *start.parents):
        path = folder / RUN_FILE
        try:
            # 别人放在上层目录里的文件不可信：令牌和任务会送到他那里去
            if path.stat().st_uid != os.geteuid():
                continue
            facts = json.loads(path.read_text())
            return Running(
                path,
                str(facts["api_url"]),
                str(facts["token"]),
                facts.get("pid"),
                facts.get("database_url"),
                facts.get("broker_url"),
                dict(facts.get("plugin_settings", {})),
            )
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(Code.USAGE, reason=phrases.RUN_FILE_BROKEN(file=path, error=repr(error))) from error
    return None


def beside_dev(settings: Settings, *, role: bool = False, tell: bool = True) -> Settings:
    """Return settings with the servers of a running `taskmill dev` for the URLs that nobody set, and say so unless `tell` is off.

    Plugins get the variables that its demo set for them, unless they are set here.
    A `role` takes both or neither: one URL that is set means an installation of its own, and half of it is a mistake to tell.
    """
    from taskmill.secret import Secret

    missing = [name for name in SERVERS if getattr(settings, name) is None]
    wanted = missing == list(SERVERS) if role else "database_url" in missing
    found = find_running(Path.cwd()) if wanted else None
    if found is None or not found.alive:
        return settings
    given = {name: Secret(url) for name in missing if (url := getattr(found, name))}
    if given and tell:
        say(
            words(
                f"使用正在运行的 taskmill dev 的服务器（{found.path}）",
                f"using the servers of the running taskmill dev ({found.path})",
            ),
            err=True,
        )
    for name, value in found.plugin_settings.items():
        os.environ.setdefault(name, value)  # 插件从环境变量读配置：与演示的一样，判断才作数
    return settings.model_copy(update=given)
