"""Taskmill plugin: send an email as a task."""
