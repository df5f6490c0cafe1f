"""What doctor says of plugins that are not well."""

from __future__ import annotations

import pytest

from taskmill.plugin import Health
from taskmill.plugin.host import PluginHost
from taskmill.services.doctor import examine
from taskmill.settings import Settings
from tests.unit.plugin.plugins import with_health

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
