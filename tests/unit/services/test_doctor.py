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
    ("answer", "told"),
    [(Health(ok=False), "not well"), (Health(ok=False, detail="disk full"), "disk full"), (Health(ok=True), "ok")],
)
async def test_a_plugin_that_is_not_well_is_not_told_to_be_ok(answer: Health, told: str) -> None:
    settings = Settings(plugins_allow=["sick"])
    host = PluginHost.load(settings, {"sick": with_health("sick", lambda: answer)}, env={})
    found = {finding.name: finding for finding in await examine(settings, host)}["health of sick"]
    assert found.ok is answer.ok
    assert told in str(found.detail)
    assert (found.detail == "ok") == answer.ok
