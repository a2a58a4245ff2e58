"""What a plugin may do wrong, as exceptions: to use what its phase doesn't have, and to fail.

Either ends as one Fault that names the plugin and the phase (`phases.plugin_failed`).
"""

from stargate_core.faults import Fault


class PhaseMisuse(Exception):
    """A plugin used a member of its context in a phase that doesn't have it."""


class PluginFailed(Exception):
    """A plugin's hook raised something else than a refusal, or left what can't be used."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault
