"""What a plugin imports: the hook marker, its manifest, the registry, texts that a result can hold, and texts in both languages."""

from taskmill.plugin.context import Submit
from taskmill.plugin.definition import OnOom, RetryPolicy, TaskDefinition, task
from taskmill.plugin.hookspecs import hookimpl
from taskmill.plugin.manifest import Health, Manifest
from taskmill.plugin.registry import Registry
from taskmill.plugin.results import storable
from taskmill.secret import Secret
from taskmill.words import Words

__all__ = [
    "Health",
    "Manifest",
    "OnOom",
    "Registry",
    "RetryPolicy",
    "Secret",
    "Submit",
    "TaskDefinition",
    "Words",
    "hookimpl",
    "storable",
    "task",
]
