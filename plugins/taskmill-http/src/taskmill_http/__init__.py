"""Taskmill plugin: call an HTTP endpoint as a task."""
