"""The smallest plugin: one manifest, one kind of task."""

from __future__ import annotations

from taskmill import Retry, TaskContext, hookimpl, task
from taskmill.plugin import Manifest, Registry, RetryPolicy


@task("hello.greet", timeout="10s", retry=RetryPolicy(max_attempts=3))
async def greet(name: str, ctx: TaskContext, fail_first: int = 0) -> str:
    """Greet somebody, after `fail_first` failed attempts."""
    if ctx.attempt <= fail_first:
        raise Retry("not in the mood yet", after=0.1)
    ctx.log.info("问候", name=name)
    return f"Hello, {name}!"


@hookimpl
def taskmill_manifest() -> Manifest:
    """Return who the plugin is."""
    return Manifest(
        name="hello",
        version="0.1.0",
        requires_api=">=1.0,<2",
        title_en="Hello",
        title_zh="问候",
        summary_en="Greets people, as an example.",
        summary_zh="示例：向人问好。",
    )


@hookimpl
def taskmill_register(registry: Registry) -> None:
    """Add `hello.greet`."""
    registry.add(greet)
