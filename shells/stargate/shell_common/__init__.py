"""What the shells have in common: helpers that wait for nothing, or for a thread alone, on whatever loop."""
