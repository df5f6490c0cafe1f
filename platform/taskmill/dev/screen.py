"""What `taskmill dev` says to the person in front of it: few lines, in one language, never torn by logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskmill.words import Words

    Choose = Callable[[Words], str]


class Screen:
    """A console and the language of its reader: `choose` takes a text's form in it."""

    def __init__(self, choose: Choose = str) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self.choose = choose

    def say(self, words: Words) -> None:
        """Print one line, as it is."""
        self.console.print(self.choose(words), markup=False)

    def facts(self, rows: list[tuple[Words, str]]) -> None:
        """Print titles and values in two columns."""
        titles = [self.choose(title) for title, _ in rows]
        size = max(map(cell_len, titles))
        for title, (_, value) in zip(titles, rows, strict=True):
            self.console.print(f"{title}{' ' * (size - cell_len(title))}  {value}", markup=False)
