"""Observing: what a gateway has done, counted in memory that all workers share."""
