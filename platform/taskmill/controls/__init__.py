"""What a task or a queue may ask for beyond running: each control is one type, the same for REST, Python, CLI and operator."""
