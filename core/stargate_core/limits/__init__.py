"""Limits: buckets, the rule that fills and drains them, and the same rule as a Redis script."""
