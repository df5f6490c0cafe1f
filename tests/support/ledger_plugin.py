"""A plugin with a table of its own, as files in a folder: for tests of the plugins' migrations."""

from __future__ import annotations

from pathlib import Path

MODULE = '''
from pathlib import Path
from taskmill import hookimpl, task
from taskmill.plugin import Manifest

@task("ledger.note")
async def note() -> str:
    """Do nothing."""
    return "noted"

@hookimpl
def taskmill_manifest():
    return Manifest(name="ledger", version="1", requires_api=">=1,<2", title_en="t", title_zh="t", summary_en="s", summary_zh="s")

@hookimpl
def taskmill_register(registry):
    registry.add(note)

@hookimpl
def taskmill_migrations():
    return Path(__file__).parent / "ledger_versions"
'''
REVISION = """
from alembic import op

revision = "ledger_0001"
down_revision = None

def upgrade():
    op.execute("create table taskmill.ledger (id bigint primary key)")

def downgrade():
    op.execute("drop table taskmill.ledger")
"""


def write(folder: Path) -> dict[str, str]:
    """Write the plugin into a folder and return the settings that load it and nothing else."""
    (folder / "ledger_plugin.py").write_text(MODULE)
    versions = folder / "ledger_versions"
    versions.mkdir()
    (versions / "ledger_0001.py").write_text(REVISION)
    return {"TASKMILL_PLUGIN_MODULES": "ledger_plugin", "TASKMILL_PLUGINS_ALLOW": "ledger", "PYTHONPATH": str(folder)}
