"""`taskmill`: the tree of commands. Each is imported only when it is used, so that `--help` is fast."""

from __future__ import annotations

import difflib
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import rich_click as click
from click.exceptions import Exit
from rich_click import RichContext, RichHelpFormatter

from taskmill import __version__
from taskmill.cli import phrases
from taskmill.cli.failure import EXIT_INTERRUPTED, report
from taskmill.cli.language import LANGUAGES, choose, language, log_language
from taskmill.cli.parsing import told
from taskmill.errors import Code, InputError, PluginError, TaskmillError
from taskmill.words import Words

ENDING = "taskmill.cli.ending"  # 只有角色导入它；--help 不必为它等
# 命令 → (模块:对象, 中文一句, 英文一句)；一句话写在这里，列出命令时就不必导入它们
COMMANDS: dict[str, tuple[str, str, str]] = {
    "dev": ("taskmill.cli.commands.roles:dev", "在本机运行全部角色，自带数据库", "Run everything on this machine"),
    "task": ("taskmill.cli.commands.task:task", "提交、查看、取消、重试任务", "Submit, read, cancel and retry tasks"),
    "queue": ("taskmill.cli.commands.queue:queue", "查看、暂停、恢复队列", "Read, pause and resume queues"),
    "failure": ("taskmill.cli.commands.failure:failure", "按错误归类的失败", "What fails, grouped by how"),
    "schedule": ("taskmill.cli.commands.schedule:schedule", "定时计划", "Timetables that submit tasks"),
    "node": (
        "taskmill.cli.commands.node:node",
        "工作进程（即 worker list）",
        "Worker processes, the old name of worker list",
    ),
    "plugin": ("taskmill.cli.commands.plugin:plugin", "插件与任务类型", "Plugins and the kinds of tasks they bring"),
    "key": ("taskmill.cli.commands.key:key", "接口密钥（直接读写数据库）", "API keys, directly on the database"),
    "api": ("taskmill.cli.commands.roles:api", "运行接口", "Serve the REST API"),
    "worker": (
        "taskmill.cli.commands.roles:worker",
        "运行工作进程；worker list 列出它们",
        "Run tasks; worker list shows who does",
    ),
    "scheduler": ("taskmill.cli.commands.roles:scheduler", "运行调度器", "Run the background loops"),
    "operator": (
        "taskmill.cli.commands.operator_role:operator",
        "运行集群控制器",
        "Run the workers of TaskQueues in Kubernetes",
    ),
    "migrate": ("taskmill.cli.commands.migrate:migrate", "数据库迁移", "Bring the database to this program's schema"),
    "doctor": ("taskmill.cli.commands.doctor:doctor", "检查环境并说出修法", "Check the installation and say the fix"),
    "scale": ("taskmill.cli.commands.scale:scale", "离线模拟扩缩容", "Try the scaling of a queue on a load"),
    "bench": ("taskmill.cli.commands.bench:bench", "测量吞吐与延迟", "Measure throughput and latency"),
}


class Tree(click.RichGroup):
    """A group whose commands are imported on use; an unknown name may be a plugin's."""

    _listing = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return [*COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command; while the names are listed, only its line."""
        found = COMMANDS.get(cmd_name)
        if found is None:
            return super().get_command(ctx, cmd_name)
        target, zh, en = found
        if self._listing:
            return click.RichCommand(name=cmd_name, help=zh if language() == "zh" else en)
        module, name = target.split(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_help(self, ctx: RichContext, formatter: RichHelpFormatter) -> None:  # type: ignore[override]
        """Write the help without importing any command."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that `args` begin with, among ours first, then among those of plugins."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            failed = _add_plugins(self)
            if self.get_command(ctx, name) is None:
                if name in failed:
                    reason = phrases.NO_COMMAND(name=name, hint=phrases.SINCE(reason=failed[name]))
                    raise InputError(Code.USAGE, reason=reason)
                close = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
                hint = phrases.DID_YOU_MEAN(names=close[0]) if close else ""
                raise InputError(Code.USAGE, reason=phrases.NO_COMMAND(name=name, hint=hint))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what a plugin's raises is told as the plugin's, with the place in its code."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, Exit, TaskmillError, BrokenPipeError):
            raise
        except Exception as error:
            from taskmill.services.faults import translate

            name = ctx.invoked_subcommand
            if name is None or name in COMMANDS or translate(error) is not None:
                raise
            from taskmill.plugin import origin

            raise PluginError(Code.PLUGIN_COMMAND_FAILED, plugin=name, reason=origin.words(error)) from error


def _add_plugins(group: click.Group) -> dict[str, Words]:
    """返回没起来的插件，每个说为什么：它的名字正是要找的命令时才说。"""
    from taskmill.cli.run_json import beside_dev
    from taskmill.log import configure_logging
    from taskmill.plugin.host import PluginHost
    from taskmill.settings import load_settings

    configure_logging(level="CRITICAL", language=log_language())
    host = PluginHost.load(beside_dev(load_settings(), tell=False))
    configure_logging(level="WARNING", language=log_language())
    host.add_cli(group)
    told = [(info.name, info.error) for info in host.plugins() if info.error and info.error.code != Code.SCHEDULE_INVALID]
    return {name: Words(zh=error.zh, en=error.en) for name, error in told}


def _set_language(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value is not None:
        choose(value)


@click.command(cls=Tree, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="taskmill %(version)s")
@click.option(
    "--lang",
    type=click.Choice(LANGUAGES),
    expose_value=False,
    is_eager=True,
    callback=_set_language,
    help="Language of tables and messages; default: from LANG.",
)
def root() -> None:
    """Durable background tasks on PostgreSQL and Valkey.

    Examples: taskmill dev --demo · taskmill task submit http.request --args '{"url": "https://example.org"}' --wait

    Plugins may add commands of their own: taskmill PLUGIN --help
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; errors are told on standard error. The process goes on."""
    try:
        return _run(arguments)
    finally:
        role = sys.modules.get(ENDING)
        if role is not None:
            role.dismiss()


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = root.main(arguments, prog_name="taskmill", standalone_mode=False)
    except click.Abort:
        return EXIT_INTERRUPTED
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "taskmill"
        return report(InputError(Code.USAGE, reason=told(error)), command=where)
    except click.ClickException as error:
        return report(InputError(Code.USAGE, reason=told(error)))
    except TaskmillError as error:
        return report(error)
    except Exception as error:
        from taskmill.services.faults import translate

        known = translate(error)
        if known is None:
            raise
        return report(known)
    return code if isinstance(code, int) else 0


def _end(number: int, _: object) -> None:
    os._exit(128 + number)  # 与默认动作一样立刻结束；抛 SystemExit 会在事件循环里被接住


def main() -> None:
    """Run and exit with the code."""
    if os.getpid() == 1:
        # 容器里的一号进程没有默认动作：导入还没完、角色还没接管信号时，SIGTERM 会被忽略，直到宽限耗尽
        signal.signal(signal.SIGTERM, _end)
    try:
        code = _run(None)
        sys.stdout.flush()
    except BrokenPipeError:
        # 下游（head、less）先走了：让解释器退出时的刷新不再报错
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    role = sys.modules.get(ENDING)
    if role is not None:
        role.settle(code)
    sys.exit(code)
