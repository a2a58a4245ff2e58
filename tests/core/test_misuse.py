"""What a plugin may do wrong: a failure bears the fault that the caller and the log are told."""

from stargate_core.faults import Cause, Fault
from stargate_core.misuse import PhaseMisuse, PluginFailed


class TestPluginFailed:
    def test_it_bears_its_fault_and_says_what_the_log_is_told(self) -> None:
        failed = PluginFailed(Fault(Cause.PLUGIN_FAILED, detail="one raised KeyError in access"))
        assert failed.fault.cause is Cause.PLUGIN_FAILED
        assert str(failed) == "one raised KeyError in access"

    def test_neither_is_taken_for_the_other(self) -> None:
        """A hook that uses what its phase has not is told so; whoever runs hooks catches their failures."""
        assert not issubclass(PhaseMisuse, PluginFailed)
        assert not issubclass(PluginFailed, PhaseMisuse)
