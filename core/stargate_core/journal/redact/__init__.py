"""Redaction: a journal without what was said in it, that is still lived to the same decisions."""

from stargate_core.journal.redact.journal import redact as redact
from stargate_core.journal.redact.journal import without_credentials as without_credentials
