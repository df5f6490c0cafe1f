"""What `taskmill doctor` looks at."""
