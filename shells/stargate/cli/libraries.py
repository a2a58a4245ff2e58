"""Optional libraries that a configuration takes, and how to get those that are not there.

`stargate serve` ends with the words, before anything is opened; `stargate check` warns: the configuration may
be for another machine.
"""

import importlib

from stargate_core.config.gateway_block import Gateway


def missing_libraries(gateway: Gateway) -> list[str]:
    """What is missing, and the command that brings it."""
    needed = {
        "stargate.clustered_store": gateway.store.cluster is not None,
        "stargate.journal_keys": gateway.journal.encrypt_to is not None,
        "stargate.tracing.export": gateway.tracing is not None,
    }
    missing: list[str] = []
    for module, is_needed in needed.items():
        if is_needed:
            try:
                importlib.import_module(module)
            except ImportError as error:
                missing.append(str(error))
    return missing
