"""Measures the `stargate` binary beside Envoy, in one run, on this machine. See README.md here."""
