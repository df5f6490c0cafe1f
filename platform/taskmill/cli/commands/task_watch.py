"""Following one task to its end."""

from __future__ import annotations

import math
import time
from typing import Any

from taskmill.cli import constants as c
from taskmill.cli.failure import EXIT_FAILED, EXIT_OK, EXIT_TIMEOUT, RemoteError
from taskmill.cli.language import words
from taskmill.cli.output import say
from taskmill.cli.rest import Api, segment
from taskmill.errors import TaskmillError, UnavailableError
from taskmill.states import FINAL, State

AWAY = frozenset({502, 503, 504})  # 接口或它前面的代理暂时不在


def follow(api: Api, task_id: str, timeout_s: float | None) -> tuple[dict[str, Any], int]:
    """Return the task as it was seen last, and the exit code: 0 completed, 1 ended otherwise, 124 time is up.

    Every change, and what a waiting task waits for, is told on standard error. An API that is away is waited for, at most
    CLI_RECONNECT_S at a time. Whatever ends this early says how to go on.
    """
    try:
        return _follow(api, task_id, timeout_s)
    except (KeyboardInterrupt, UnavailableError):
        say(words(f"任务仍在：taskmill task watch {task_id}", f"the task goes on: taskmill task watch {task_id}"), err=True)
        raise


def _follow(api: Api, task_id: str, timeout_s: float | None) -> tuple[dict[str, Any], int]:
    deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
    seen: tuple[object, ...] = ()
    while True:
        found = _get(api, f"/tasks/{segment(task_id)}", deadline)
        now = (found["state"], found["attempt"], (found["error"] or {}).get("message"), _codes(found))
        if now != seen:
            seen = now
            _tell(found)
        if found["state"] in FINAL:
            result = _get(api, f"/tasks/{segment(task_id)}/result", deadline)["result"]
            completed = found["state"] == State.COMPLETED
            return {**found, "result": result} if completed else found, EXIT_OK if completed else EXIT_FAILED
        left = deadline - time.monotonic()
        if left <= 0:
            say(words(f"等了 {timeout_s:g} 秒，任务还没有结束", f"not finished after {timeout_s:g} s"), err=True)
            return found, EXIT_TIMEOUT
        time.sleep(min(left, c.CLI_WATCH_POLL_S))


def _get(api: Api, path: str, deadline: float) -> Any:
    """接口重启时等它回来：开发时它可能换了端口和令牌，所以每次重新找。"""
    patience = min(deadline, time.monotonic() + c.CLI_RECONNECT_S)
    away = False
    while True:
        try:
            return api.get(path)
        except TaskmillError as error:
            if time.monotonic() >= patience or not (_is_away(error) or api.moved()):
                raise
            if not away:
                say(words("接口暂时连接不上，继续等……", "the API is away for now, still waiting …"), err=True)
        away = True
        time.sleep(c.CLI_WATCH_POLL_S)
        api.find_again()


def _is_away(error: TaskmillError) -> bool:
    status = error.status if isinstance(error, RemoteError) else error.spec.status
    return status in AWAY


def _tell(found: dict[str, Any]) -> None:
    attempt = words("第 {} 次尝试，上限 {}", "attempt {} of {}").format(found["attempt"], found["max_attempts"])
    past = found["state"] == State.COMPLETED or not found["error"]
    error = "" if past else f"  {found['error'].get('message')}"
    say(f"{time.strftime('%H:%M:%S')}  {found['state']:<9}  {attempt}{error}", err=True)
    for line in told_all(found):
        say("          " + line.replace("\n", "\n          "), err=True)


def _codes(found: dict[str, Any]) -> tuple[str, ...]:
    """变的只是数字（前面还有几个、约多久），就不必再说一遍。"""
    return tuple(reason["code"] for reason in found.get("waiting") or ())


def told_all(found: dict[str, Any]) -> tuple[str, ...]:
    """Return why a task waits, a line for each reason; none while it does not, or if the API is older than this program."""
    return tuple(told(reason) for reason in found.get("waiting") or ())


def told(reason: dict[str, Any]) -> str:
    """Return one reason in the language in use, with the commands that are the next step."""
    steps = "".join(f"\n  → {step}" for step in reason.get("next") or ())
    return f"{reason['code']} {words(**reason['message'])}{steps}"
