"""The same action on several things: each on its own, the errors told one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from taskmill.cli.failure import EXIT_OK, EXIT_PARTIAL, report
from taskmill.cli.output import Column, Output, emit
from taskmill.errors import Code, TaskmillError

HOPELESS = frozenset({Code.API_UNREACHABLE, Code.UNAUTHORIZED, Code.FORBIDDEN})  # 对后面的每一个都一样


def each(
    names: Sequence[str], act: Callable[[str], Any], output: Output, columns: Sequence[Column], *, name: str = "id"
) -> int:
    """Act on every name, print what became of them and return the exit code: 6 if only some could be done.

    One name prints one object, several print a list. Raises what would meet all the others too, such as a refused key.
    """
    done: list[Any] = []
    code = EXIT_OK
    for item in dict.fromkeys(names):
        try:
            done.append(act(item))
        except TaskmillError as error:
            if error.code in HOPELESS and not done:
                raise
            code = report(error)
    if done:
        emit(done[0] if len(names) == 1 else done, output, columns, name=name)
    return EXIT_PARTIAL if code and done else code
