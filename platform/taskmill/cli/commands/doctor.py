"""`taskmill doctor`: is everything there that Taskmill needs, and how to mend what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rich_click as click

from taskmill.cli import ending
from taskmill.cli.failure import EXIT_FAILED
from taskmill.cli.language import log_language, words
from taskmill.cli.output import Output, cells, colored, emit, output_option, say
from taskmill.cli.run_json import beside_dev
from taskmill.errors import SetupError
from taskmill.log import configure_logging
from taskmill.settings import load_settings
from taskmill.words import Words

if TYPE_CHECKING:
    from taskmill.services.doctor.checks import Finding

# 检查的中文名；数据里的名字不变。后一张表的名字后面跟着是谁的
TITLES = {
    "settings": "设置",
    "encoding": "编码",
    "encoding and rights": "编码与权限",
    "write": "写入",
    "migrations": "迁移",
    "partitions": "分区",
    "workers": "工作进程",
    "schedulers": "调度器",
    "waiting tasks": "在等的任务",
    "dispatch": "派发",
    "keys": "键",
    "time zones": "时区",
    "plugins": "插件",
    "api port": "接口端口",
}
TITLES_OF = {
    "clock of ": "时钟：",
    "rights of ": "权限：",
    "migrations of ": "迁移：",
    "queue ": "队列 ",
    "plugin ": "插件 ",
    "health of ": "健康：",
}
SIGNS = {True: ("✓", "green"), False: ("✗", "red"), None: ("·", "yellow")}


@click.command()
@output_option
@click.pass_context
def doctor(ctx: click.Context, output: Output) -> None:
    """Check PostgreSQL, Valkey, encoding, rights, clocks, time zones, migrations, partitions, workers, schedulers, waiting tasks,
    plugins and the port; exit code 1 if any is ✗. Of other machines it knows what the database says, so it tells of the whole installation.

    As data each finding has `name`, `ok` (null: worth knowing, nothing wrong), `message` and `hint`, these two as `{"zh": …, "en": …}`.

    Example: taskmill doctor -o json
    """
    from taskmill.plugin.host import PluginHost
    from taskmill.services.doctor.checks import Finding, examine

    # 插件加载失败会作为一条结论显示，不必再进日志
    configure_logging(level="CRITICAL", language=log_language())
    try:
        settings = beside_dev(load_settings())
    except SetupError as error:
        # 设置有误，别的检查也无从谈起
        told, hint = error.message(), error.hint()
        findings = [Finding(name="settings", ok=False, detail=Words(**told), fix="" if hint is None else Words(**hint))]
    else:
        findings = ending.run(examine(settings, PluginHost.load(settings)))
    if output in {"table", "wide"}:
        _show(findings)
    else:
        emit([_data(each) for each in findings], output, (), name="name")
    ctx.exit(EXIT_FAILED if any(finding.ok is False for finding in findings) else 0)


def chinese(name: str) -> str:
    """Return the name of a finding in Chinese; those of products stay."""
    for start, title in TITLES_OF.items():
        if name.startswith(start):
            return title + name.removeprefix(start)
    return TITLES.get(name, name)


def _data(finding: Finding) -> dict[str, Any]:
    """两种语言各在一栏，与接口的错误同样的名字；`detail` 与 `fix` 是它们从前的样子，再留一个版本。"""
    return {
        "name": finding.name,
        "ok": finding.ok,
        "message": _both(finding.detail),
        "hint": _both(finding.fix) if finding.fix else None,
        "detail": _said(finding.detail),
        "fix": _said(finding.fix),
    }


def _both(text: str | Words) -> dict[str, str]:
    return {"zh": text.zh, "en": text.en} if isinstance(text, Words) else {"zh": text, "en": text}


def _said(text: str | Words) -> str:
    return words(text.zh, text.en) if isinstance(text, Words) else text


def _show(findings: list[Finding]) -> None:
    titles = [words(chinese(finding.name), finding.name) for finding in findings]
    size = max(map(cells, titles))
    for title, finding in zip(titles, findings, strict=True):
        sign, color = SIGNS[finding.ok]
        padding = " " * (size - cells(title))
        click.echo(click.style(sign, fg=color) if colored() else sign, nl=False)
        say(f" {title}{padding}  {_said(finding.detail)}")
        if finding.fix:
            say(f"  {' ' * size}  → {_said(finding.fix)}")
