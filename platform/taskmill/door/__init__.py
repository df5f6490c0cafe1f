"""The door for applications: submit tasks from any Python program, in its own transaction too, and wait for what comes of them."""
