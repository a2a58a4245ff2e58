"""Errors of the vendors' own APIs, as AWS serves them: in an answer that says 200 all the same, or inside a
stream.

Their words are read as the AWS exceptions that say the same (aws/exceptions.py), and by these they become
faults: what a throttle means for the caller, a retry or a breaker is written once, whoever has said it.

Sources: openai-python src/openai/_streaming.py; anthropic-sdk-python src/anthropic/_streaming.py.
"""

from stargate_core.aws.exceptions import vendor_error
from stargate_core.faults import Fault, fault_of_aws


def vendor_fault(error: object, status: int) -> Fault:
    """The fault that a vendor's `error` member means. status: the answer's own, 0 inside a stream."""
    told = vendor_error(error, status)
    return fault_of_aws(told.name, told.status, told.message)
