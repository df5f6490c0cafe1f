"""Where the author's own code stood when it failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import taskmill
from taskmill.plugin import origin

LIBRARY = "/venv/lib/python3.11/site-packages/lib/net.py"
PLUGIN = "/venv/lib/python3.11/site-packages/shop/mails.py"
OURS = str(Path(taskmill.__file__).parent / "engine" / "attempts" / "execution.py")
AUTHOR = "/srv/shop/mails.py"


def chain(*files: str, last: Callable[[], Any]) -> BaseException:
    """An error that went through a function `step` of each of these files, `last` called by the innermost."""
    call = last
    for file in reversed(files):
        names: dict[str, Any] = {"call": call}
        exec(compile("def step():\n    return call()\n", file, "exec"), names)  # noqa: S102 - 假装代码在别处
        call = names["step"]
    try:
        call()
    except Exception as error:  # noqa: BLE001 - 就要它
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # 这个函数自己的一层不算
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ((AUTHOR,), "shop/mails.py step"),
        ((OURS, AUTHOR), "shop/mails.py step"),
        ((OURS, AUTHOR, "/srv/shop/post.py", LIBRARY), "shop/post.py step"),
        ((OURS, AUTHOR, OURS), "shop/mails.py step"),
        ((OURS, PLUGIN, LIBRARY), "shop/mails.py step"),
        ((OURS, OURS), ""),
    ],
    ids=["alone", "behind ours", "before a library", "back in ours", "an installed plugin", "ours only"],
)
def test_the_innermost_frame_that_is_no_library_s(files: tuple[str, ...], told: str) -> None:
    error = chain(*files, last=eval("lambda: 1 // 0"))  # noqa: S307 - 它的文件名是 <string>
    assert origin.frame(error) == told


def test_the_standard_library_is_a_library() -> None:
    assert origin.frame(chain(AUTHOR, last=lambda: json.loads("{"))).endswith("plugin/test_frame.py <lambda>")


def test_an_error_without_a_traceback_has_no_frame() -> None:
    assert origin.frame(ValueError("never raised")) == ""
