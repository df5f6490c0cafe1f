"""A traceback for reading: the author's own frames, with those of libraries between them folded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePath

_FRAME = re.compile(r'^\s+(?:\| )?\s*File "(?P<file>[^"]+)", line \d+')


@dataclass(frozen=True, slots=True)
class Part:
    """Some lines; `folded` ones are frames of libraries, `frames` of them."""

    text: str
    folded: bool
    frames: int = 0


def parts(traceback: str) -> list[Part]:
    """Return a traceback as Python writes it in parts. The author's folder is that of the first frame of all."""
    blocks = _blocks(traceback.splitlines())
    home = next((PurePath(file).parent for file, _ in blocks if file), None)
    found: list[Part] = []
    for folded, group in groupby(blocks, key=lambda block: block[0] is not None and not _inside(block[0], home)):
        lines = list(group)
        found.append(Part("\n".join(text for _, text in lines), folded, len(lines) if folded else 0))
    return found


def _inside(file: str, home: PurePath | None) -> bool:
    return home is not None and PurePath(file).is_relative_to(home)


def _blocks(lines: list[str]) -> list[tuple[str | None, str]]:
    """一个栈帧连同它下面更深一级的源码行是一块；别的每行一块。"""
    found: list[tuple[str | None, str]] = []
    indent = 0
    for line in lines:
        match = _FRAME.match(line)
        depth = len(line) - len(line.lstrip(" |"))
        if match is not None:
            found.append((match["file"], line))
            indent = depth
        elif found and found[-1][0] is not None and depth > indent and line.strip():
            found[-1] = (found[-1][0], f"{found[-1][1]}\n{line}")
        else:
            found.append((None, line))
    return found
