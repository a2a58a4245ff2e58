"""The trio shell: sockets, timers and TLS around the core."""
