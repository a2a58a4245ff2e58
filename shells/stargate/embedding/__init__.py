"""The gateway as a library: what `stargate.asyncio.Gateway` and `stargate.trio.Gateway` have in common."""
