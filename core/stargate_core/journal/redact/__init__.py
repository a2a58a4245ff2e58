"""Redaction: a journal without what was said in it, that is still lived to the same decisions."""

from stargate_core.journal.redact.journal import redact as redact
