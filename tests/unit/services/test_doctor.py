"""What doctor says of plugins that are not well."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from taskmill.plugin import Health, Registry
from taskmill.plugin.host import PluginHost
from taskmill.services.doctor.checks import examine
from taskmill.settings import Settings
from tests.unit.plugin.plugins import plugin, with_health

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("answer", "sign", "told"),
    [
        (Health(ok=False), False, "not well"),
        (Health(ok=False, detail="disk full"), False, "disk full"),
        (Health(ok=True), True, "ok"),
        (Health(ok=True, detail="no server configured"), None, "no server configured"),
    ],
)
async def test_only_a_plugin_that_is_well_and_has_nothing_to_say_is_ticked(
    answer: Health, sign: bool | None, told: str
) -> None:
    settings = Settings(plugins_allow=["sick"])
    host = PluginHost.load(settings, {"sick": with_health("sick", lambda: answer)}, env={})
    found = {finding.name: finding for finding in await examine(settings, host)}["health of sick"]
    assert found.ok is sign
    assert told in str(found.detail)
    assert (found.detail == "ok") == (sign is True)


def scheduling(kind: str) -> SimpleNamespace:
    def taskmill_register(registry: Registry) -> None:
        registry.schedule("often", kind, every="5m")

    return plugin("sick", taskmill_register)


@pytest.mark.parametrize(
    ("sick", "modules", "ok", "detail", "fix"),
    [
        (None, ["no_such_sick"], False, "failed: plugin no_such_sick", "TASKMILL_PLUGIN_MODULES"),
        (plugin("sick"), [], None, "1.2.3, loaded: plugin sick is loaded, but it brings nothing", "hooks.md"),
        (
            scheduling("sick.sya"),
            [],
            None,
            "1.2.3, loaded: schedule often: no plugin here has the kind sick.sya",
            "the kind",
        ),
        (plugin("sick", requires_api=">=9"), [], False, "1.2.3, incompatible: plugin sick", "TASKMILL_PLUGIN"),
    ],
    ids=["a missing module", "no hook", "a schedule of an unknown kind", "another API"],
)
async def test_a_plugin_with_a_fault_has_a_fix_that_can_work(
    sick: object | None, modules: list[str], ok: bool | None, detail: str, fix: str
) -> None:
    settings = Settings(plugins_allow=["sick", "no_such_sick"], plugin_modules=modules)
    host = PluginHost.load(settings, {} if sick is None else {"sick": sick}, env={})
    name = "plugin no_such_sick" if sick is None else "plugin sick"
    found = {finding.name: finding for finding in await examine(settings, host)}[name]
    assert found.ok is ok
    assert str(found.detail).startswith(detail)
    assert fix in str(found.fix)
    assert "DENY" not in str(found.fix)  # 来自模块的插件要先导入才知道名字，禁用名单帮不上
