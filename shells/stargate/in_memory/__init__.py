"""A client's connection without a socket, and a call on it: for callers in the gateway's own process."""
