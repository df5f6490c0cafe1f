"""What comes after what: sequences, dependencies, and what the end of a task lets go."""
