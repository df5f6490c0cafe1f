"""`$(NAME)` in commands, arguments and environment values, by the rules of Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Mapping

# `$$` 是转义；没有定义的引用原样保留
_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")


def expand(text: str, values: Mapping[str, str]) -> str:
    """Return `text` with references to `values` replaced; unknown ones stay and `$$(NAME)` becomes `$(NAME)`."""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return values.get(match[1], match[0])

    return _REFERENCE.sub(replace, text)
