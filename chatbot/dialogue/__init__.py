"""What a turn is: the manager, the context window, personas, and what the screen is told."""
