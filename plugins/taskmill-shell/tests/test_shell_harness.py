"""The plugin as an application meets it: loaded by its name, configured by its variables, asked by a submit."""

from __future__ import annotations

import pytest

from taskmill import TaskFailed
from taskmill.testing import Harness

pytestmark = pytest.mark.anyio
ENV = {"TASKMILL_PLUGIN_SHELL_ALLOW": "/bin/echo,/bin/false"}


async def test_a_command_is_run() -> None:
    async with Harness(plugins=["shell"], env=ENV, mode="inline") as harness:
        order = await harness.submit("shell.run", {"argv": ["/bin/echo", "hello"]})
        assert (await order.result())["stdout"] == "hello\n"


async def test_a_command_that_fails_is_tried_to_the_end() -> None:
    async with Harness(plugins=["shell"], env=ENV) as harness:
        order = await harness.submit("shell.run", {"argv": ["/bin/false"]}, max_attempts=2)
        assert await harness.drain(future=True) == 2
        with pytest.raises(TaskFailed):
            await order.result()


async def test_what_is_not_allowed_is_discarded_at_once() -> None:
    async with Harness(plugins=["shell"], env=ENV) as harness:
        await harness.submit("shell.run", {"argv": ["/bin/true"]})
        assert await harness.drain(future=True) == 1


async def test_a_wrong_configuration_is_told() -> None:
    with pytest.raises(ValueError, match=r"shell: .*bin/echo"):
        Harness(plugins=["shell"], env={"TASKMILL_PLUGIN_SHELL_ALLOW": "bin/echo"})
