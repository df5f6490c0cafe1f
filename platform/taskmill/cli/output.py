"""What commands print on standard output: a table for people, or the API's data unchanged for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import rich_click as click

from taskmill.cli import phrases
from taskmill.cli.language import in_language, words
from taskmill.text.printable import is_hidden, json_safe, printable, shown

Output = Literal["table", "wide", "json", "jsonl", "yaml", "name"]
OUTPUTS: tuple[Output, ...] = ("table", "wide", "json", "jsonl", "yaml", "name")
NONE = "-"
GAP = 2  # 两列之间的空格
BREAKS = "\n\t"  # 多行文字里照原样写出的控制符
LAST_MIN = 16  # 最后一列截短到这么宽还值得显示
UNLIMITED = 100_000  # 输出到管道时的行宽：不折行，便于 grep
MINUTE, HOUR, DAY = 60, 3_600, 86_400

output_option: Callable[[Any], Any] = click.option(
    "-o",
    "--output",
    type=click.Choice(OUTPUTS),
    default="table",
    show_default=True,
    help="Form of the result; json, jsonl and yaml are the data of the API unchanged.",
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: where its value is (`a.b` goes into objects), its title in both languages, how it is shown.

    `rank` 0 is always shown; of the others, the highest go first when the terminal is narrow; `wide` ones are shown
    by `-o wide` only. `when` says for which items it has anything to say.
    """

    path: str
    zh: str
    en: str
    show: Callable[[Any], str] | None = None
    rank: int = 0
    wide: bool = False
    when: Callable[[Mapping[str, Any]], bool] | None = None

    def text(self, item: Mapping[str, Any]) -> str:
        """Return the cell of one item, safe for a terminal; only `show` can give it several lines."""
        if self.when is not None and not self.when(item):
            return NONE
        value: Any = item
        for part in self.path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return NONE if value is None or value == "" else printable((self.show or plain)(value), BREAKS)


def say(text: str, *, err: bool = False) -> None:
    """Print words that may hold what others wrote: everything but line breaks and tabs is made harmless."""
    click.echo(printable(text, BREAKS), err=err)


def confirm(question: str) -> None:
    """Ask on standard error and go on only after a yes; click.Abort otherwise. Where nobody can answer, say how not to be asked."""
    try:
        click.confirm(question, abort=True, err=True)
    except click.Abort:
        if not sys.stdin.isatty():
            say("\n" + in_language(phrases.NO_ANSWER), err=True)
        raise


def plain(value: Any) -> str:
    """Show a value on one line."""
    if isinstance(value, bool):
        return words("是", "yes") if value else words("否", "no")
    if isinstance(value, list):
        return ",".join(str(part) for part in value) or NONE
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return " ".join(str(value).split())


def age(value: str) -> str:
    """Show how far from now a time is: `5s`, `3m`, `2h`, `4d`; `in 5s` for one that is to come."""
    moment = datetime.fromisoformat(value)
    seconds = (datetime.now(UTC) - moment).total_seconds()
    return duration(seconds) if seconds >= 0 else words("还有 ", "in ") + duration(-seconds)


def duration(seconds: float) -> str:
    """Show a length of time in its largest fitting unit."""
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def emit(data: Any, output: Output, columns: Sequence[Column], *, name: str = "id") -> None:
    """Print a result: a list, a page of the API (`{"items": […]}`) or one object.

    `name` is the field that `-o name` prints.
    """
    items = _items(data)
    if output == "json":
        click.echo(_json(data, indent=2))
    elif output == "jsonl":
        for item in items:
            click.echo(_json(item))
    elif output == "yaml":
        click.echo(_yaml(data), nl=False)
    elif output == "name":
        for item in items:
            say(str(item[name]))
    else:
        _table(items, [column for column in columns if output == "wide" or not column.wide], whole=output == "wide")
        _footer(data)


def _json(data: Any, indent: int | None = None) -> str:
    return json_safe(json.dumps(data, ensure_ascii=False, indent=indent))


def _yaml(data: Any) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """有隐形字符的文字一律加双引号：那里可以写转义，读回来仍是原文。"""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = '"' if any(map(is_hidden, value.replace("\n", ""))) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    dumped = yaml.dump(data, Dumper=Dumper, allow_unicode=True, sort_keys=False)
    return "".join(char if char == "\n" or not is_hidden(char) else shown(char) for char in dumped)


def _items(data: Any) -> list[Any]:
    if isinstance(data, dict) and isinstance(data.get("items"), list):
        return data["items"]
    return data if isinstance(data, list) else [data]


def width() -> int:
    """Return how many columns the output has: COLUMNS, the terminal's, or no limit for a pipe."""
    given = os.environ.get("COLUMNS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else UNLIMITED


def cells(text: str) -> int:
    """Return how many terminal columns a text takes: Chinese characters take two."""
    from rich.cells import cell_len

    return cell_len(text)


def _table(items: Sequence[Mapping[str, Any]], columns: Sequence[Column], *, whole: bool) -> None:
    if not items:
        say(words("没有内容", "nothing there"), err=True)
        return
    grid = [
        (column, [words(column.zh, column.en), *(" ".join(column.text(item).split()) for item in items)])
        for column in columns
    ]
    if whole and _total(grid) > width():
        _blocks(items, columns)  # 折行的表没法看
        return
    if not whole:
        grid = _fitting(grid, width())
    widths = [max(cells(text) for text in texts) for _, texts in grid]
    for row, line in enumerate(zip(*(texts for _, texts in grid), strict=True)):
        padded = [text + " " * (size - cells(text)) for text, size in zip(line, widths, strict=True)]
        text = (" " * GAP).join(padded).rstrip()
        click.echo(click.style(text, bold=True) if row == 0 and colored() else text)
    _left_out([column for column in columns if column not in [kept for kept, _ in grid]], items)


def _blocks(items: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    for place, item in enumerate(items):
        if place:
            click.echo()
        record(item, columns)


def _left_out(columns: Sequence[Column], items: Sequence[Mapping[str, Any]]) -> None:
    """去掉了的列里有话要说的，点出名来。"""
    titles = [words(column.zh, column.en) for column in columns if any(column.text(item) != NONE for item in items)]
    if titles:
        say(
            words(
                f"终端太窄，未显示：{'、'.join(titles)}；-o wide 全部显示",
                f"too narrow for {', '.join(titles)}; -o wide shows all",
            ),
            err=True,
        )


def _fitting(grid: list[tuple[Column, list[str]]], limit: int) -> list[tuple[Column, list[str]]]:
    """放不下就去掉没有内容的列，截短最后一列；还不够，就去掉最不要紧的列再试。"""
    kept = list(grid)
    if _total(kept) > limit:
        kept = [(column, texts) for column, texts in kept if column.rank == 0 or any(text != NONE for text in texts[1:])]
    while _total(kept) > limit:
        column, texts = kept[-1]
        room = max(cells(text) for text in texts) - (_total(kept) - limit)
        if room >= LAST_MIN:
            kept[-1] = (column, [_cut(text, room) for text in texts])
            break
        worst = max(range(len(kept)), key=lambda place: kept[place][0].rank)
        if kept[worst][0].rank == 0:
            break
        del kept[worst]
    return kept


def _total(grid: Sequence[tuple[Column, list[str]]]) -> int:
    return sum(max(cells(text) for text in texts) for _, texts in grid) + GAP * (len(grid) - 1)


def _cut(text: str, room: int) -> str:
    if cells(text) <= room:
        return text
    from rich.cells import set_cell_size

    return set_cell_size(text, room - 1).rstrip() + "…"


def colored() -> bool:
    """Say whether to use colours: on a terminal, unless NO_COLOR is set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _footer(data: Any) -> None:
    """这一页之外还有多少，写到标准错误，不混进结果。"""
    if not isinstance(data, dict) or "items" not in data:
        return
    shown, total, cursor = len(data["items"]), data.get("total"), data.get("next_cursor")
    if total is not None and total > shown:
        more = "+" if data.get("total_capped") else ""
        click.echo(words(f"共 {total}{more} 条，此处 {shown} 条", f"{shown} of {total}{more}"), err=True)
    if cursor:
        say(words(f"下一页：--cursor {cursor}", f"next page: --cursor {cursor}"), err=True)


def record(item: Mapping[str, Any], rows: Iterable[Column]) -> None:
    """Print one object as `title  value` lines; long values go on over several lines. A row that has nothing to say is left out."""
    lines = [(words(row.zh, row.en), row.text(item)) for row in rows if row.when is None or row.when(item)]
    size = max(cells(title) for title, _ in lines)
    for title, text in lines:
        label = title + " " * (size - cells(title))
        body = text.replace("\n", "\n" + " " * (size + GAP))
        click.echo(f"{click.style(label, bold=True) if colored() else label}{' ' * GAP}{body}")
