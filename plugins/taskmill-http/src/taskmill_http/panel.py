"""The panel on the page of a task: what was asked, and what the last attempt was answered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from yarl import URL

from taskmill.plugin import Panel, Row, TaskFacts, Words
from taskmill_http import reasons

TITLE = Words("请求与应答", "Request and answer")
MASK = "***"
_SECRET = re.compile(
    "pass|pwd|secret|token|auth|credential|cookie|session|signature|jwt|otp|dsn|(?:api|private|access|signing)[ _-]?key",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(r"(?:[A-Za-z]+ )?secret:\w+")  # 只是名字，值在配置里
_JSON = re.compile(r"\s*[\[{]")


async def rows(task: TaskFacts) -> list[Row]:
    """Return the request as it was submitted, and the answer or what went wrong; values that look like secrets are masked."""
    asked: Mapping[str, Any] = task.args if isinstance(task.args, Mapping) else {}
    found = [Row(reasons.REQUEST, f"{asked.get('method', 'GET')} {_url(str(asked.get('url', '')))}")]
    found += _headers(reasons.REQUEST_HEADERS, asked.get("headers"))
    if "json" in asked:
        found.append(Row(reasons.REQUEST_BODY, _masked(asked["json"]), "json"))
    elif asked.get("body"):
        found.append(_body(reasons.REQUEST_BODY, asked["body"]))
    return found + (_answer(task.result) if isinstance(task.result, Mapping) else _failure(task))


def _answer(answer: Mapping[str, Any]) -> list[Row]:
    found = [Row(reasons.ANSWER, reasons.ANSWERED(status=answer.get("status"), ms=answer.get("elapsed_ms")))]
    found.append(Row(reasons.ANSWER_URL, _url(str(answer.get("url", "")))))
    found += _headers(reasons.ANSWER_HEADERS, answer.get("headers"))
    if answer.get("incomplete"):
        found.append(Row(reasons.INCOMPLETE, answer["incomplete"]))
    if answer.get("body"):
        found.append(_body(reasons.ANSWER_BODY, answer["body"]))
    return found


def _failure(task: TaskFacts) -> list[Row]:
    if not isinstance(task.error, Mapping):
        return [Row(reasons.ANSWER, reasons.NOT_YET)]
    message = str(task.error.get("message") or "")
    return [Row(reasons.LAST_ATTEMPT, Words(zh=task.error.get("message_zh") or message, en=message))]


def _headers(label: Words, given: Any) -> list[Row]:
    return [Row(label, _masked(given), "json")] if isinstance(given, Mapping) and given else []


def _body(label: Words, text: str) -> Row:
    if _JSON.match(text):
        try:
            return Row(label, _masked(msgspec.json.decode(text)), "json")
        except (msgspec.DecodeError, RecursionError):
            pass
    return Row(label, text, "code")


def _masked(value: Any) -> Any:
    """遮住名字像机密的字段；`secret:NAME` 只是名字，照样显示。"""
    todo = [value]
    while todo:
        item = todo.pop()
        for place, child in list(
            item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
        ):
            if isinstance(item, dict) and _SECRET.search(str(place)) and not _named(child):
                item[place] = MASK
            else:
                todo.append(child)
    return value


def _named(value: Any) -> bool:
    return isinstance(value, str) and _PLACEHOLDER.fullmatch(value) is not None


def _url(text: str) -> str:
    try:
        url = URL(text)
    except ValueError:
        return text
    query = [(name, MASK if _SECRET.search(name) else value) for name, value in url.query.items()]
    return str(url.with_query(query)) if any(value == MASK for _, value in query) else text


PANEL = Panel(TITLE, rows, kinds=("http.request",))
