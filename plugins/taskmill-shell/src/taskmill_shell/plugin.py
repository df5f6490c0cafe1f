"""The hooks of the plugin."""

from __future__ import annotations

from importlib.metadata import version

from taskmill import TaskContext, hookimpl, task
from taskmill.plugin import Manifest, Registry, TaskDefinition
from taskmill_shell import config as limits
from taskmill_shell.config import ShellConfig
from taskmill_shell.messages import Command, Output
from taskmill_shell.runner import run as execute


@hookimpl
def taskmill_manifest() -> Manifest:
    """Return who the plugin is."""
    return Manifest(
        name="shell",
        version=version("taskmill-shell"),
        requires_api=">=1.0,<2",
        title_en="Commands",
        title_zh="命令",
        summary_en="Runs allow-listed commands in a process group of their own, with limits on time, memory and output.",
        summary_zh="在独立的进程组里运行允许名单中的命令，限制时间、内存与输出；默认名单为空。",
        config=ShellConfig,
        capabilities=frozenset({"subprocess", "filesystem"}),
        log_events={"运行命令": "running a command"},
    )


@hookimpl
def taskmill_register(registry: Registry, config: ShellConfig) -> None:
    """Add `shell.run`."""
    registry.add(run_task(config))


def run_task(config: ShellConfig) -> TaskDefinition:
    """Return the kind `shell.run` under `config`."""

    @task("shell.run", timeout=config.timeout_max_s + config.kill_grace_s + limits.TIMEOUT_MARGIN_S)
    async def run(args: Command, ctx: TaskContext) -> Output:
        """Run one allow-listed command."""
        ctx.log.info("运行命令", program=args.argv[0])
        result = await execute(args, config, ctx.result_max_bytes)
        if result.survivors:
            ctx.log.warning("命令留下的进程无法终止", program=args.argv[0], pids=result.survivors)
        return result

    return run
