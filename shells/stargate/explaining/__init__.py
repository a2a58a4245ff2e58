"""How people write a request to have it explained, and what they are shown."""
