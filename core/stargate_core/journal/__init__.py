"""Journals: a machine's life, written down so that it can be lived again elsewhere."""
