"""What does a layout cost in the caches? A rung's own accesses, simulated, drawn and counted."""
