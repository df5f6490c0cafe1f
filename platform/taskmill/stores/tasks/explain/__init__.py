"""Facts behind what is told of a task: why it waits, what became of it."""
