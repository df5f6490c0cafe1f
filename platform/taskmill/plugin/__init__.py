"""What a plugin imports: the hook marker, its manifest, the registry, what it adds to the dashboard, and texts in both languages."""

from taskmill.plugin.context import Submit
from taskmill.plugin.dashboard.parts import Dashboard, Page, Panel, Row, TaskFacts
from taskmill.plugin.definition import OnOom, RetryPolicy, TaskDefinition, task
from taskmill.plugin.hookspecs import hookimpl
from taskmill.plugin.manifest import Health, Manifest
from taskmill.plugin.registry import Registry
from taskmill.plugin.results import storable
from taskmill.secret import Secret
from taskmill.words import Words

__all__ = [
    "Dashboard",
    "Health",
    "Manifest",
    "OnOom",
    "Page",
    "Panel",
    "Registry",
    "RetryPolicy",
    "Row",
    "Secret",
    "Submit",
    "TaskDefinition",
    "TaskFacts",
    "Words",
    "hookimpl",
    "storable",
    "task",
]
