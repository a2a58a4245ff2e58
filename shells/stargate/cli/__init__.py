"""The `stargate` command."""
