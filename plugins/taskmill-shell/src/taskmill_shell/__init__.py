"""Taskmill plugin: run an allow-listed command as a task."""
