"""A terminal just good enough to tell what a person sees: cursor, wrapping, erasing, and no sequence that it does not know."""

from __future__ import annotations

import re

from rich.cells import cell_len

# 一个完整的控制序列、一个控制符、或一段文字；不成形的 ESC 谁也不认
_TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([\x00-\x1f\x7f-\x9f])|([^\x00-\x1f\x7f-\x9f]+)")


class Terminal:
    """Rows as they stand after everything that was fed; a row that ran over the edge knows that it goes on in the next."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.height = columns, rows
        self.rows: list[list[str]] = [[]]
        self.runs_on: set[int] = set()
        self.row = self.column = 0
        self.cursor_shown = True

    def feed(self, text: str) -> None:
        """Show `text`; AssertionError at a sequence that is unknown, broken or unterminated."""
        position = 0
        while position < len(text):
            found = _TOKEN.match(text, position)
            assert found is not None, f"no sequence: {text[position - 20 : position + 20]!r}"
            position = found.end()
            if found[4] is not None:
                for char in found[4]:
                    self._put(char)
            elif found[3] is not None:
                self._control(found[3])
            else:
                self._steer(found[2], found[1])

    def lines(self) -> list[str]:
        """Return the lines as they were written: rows that ran over the edge are joined again."""
        made, line = list[str](), ""
        for number, row in enumerate(self.rows):
            line += "".join(row)
            if number not in self.runs_on:
                made.append(line.rstrip())
                line = ""
        return made

    def _put(self, char: str) -> None:
        size = cell_len(char)
        if self.column + size > self.columns:
            self.runs_on.add(self.row)
            self.column = 0
            self._down()
        row = self.rows[self.row]
        row += [" "] * (self.column - len(row))
        row[self.column : self.column + size] = [char, *[""] * (size - 1)]
        self.column += size

    def _control(self, char: str) -> None:
        assert char in "\r\n", f"control character {char!r}"
        if char == "\r":
            self.column = 0
        else:
            self._down()

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append([])

    def _steer(self, verb: str, options: str) -> None:
        if verb == "m":  # 颜色
            return
        if options == "?25":
            self.cursor_shown = verb == "h"
        elif verb == "A":  # 上移，出不了屏幕
            self.row = max(self.row - int(options or 1), len(self.rows) - self.height, 0)
        elif verb == "K" and options == "2":
            self.rows[self.row] = []
            self.runs_on.discard(self.row)
        else:
            raise AssertionError(f"unknown sequence ESC [ {options}{verb}")
