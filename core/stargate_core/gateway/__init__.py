"""The machines: a session, its exchanges, the pool."""
