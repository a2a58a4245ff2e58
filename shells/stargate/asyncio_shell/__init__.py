"""The asyncio shell: sockets, timers and TLS around the core. The trio shell's twin, file for file."""
