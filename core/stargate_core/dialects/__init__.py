"""The APIs callers speak, one file each."""
