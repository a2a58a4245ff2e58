"""The plugins Stargate ships, one file each."""
