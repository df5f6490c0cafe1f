"""When schedules fire and which ones are sound: pure rules, for services, plugins and the operator alike."""
