"""Where log lines can go: files, standard streams, UDP, HTTP. One writer each, for the sinks of any loop.

The writers block, within limits, so sinks call them in threads. They are told apart by how a path begins.
"""

from stargate.log_sinks.files import FileWriter
from stargate.shell_common.lines import Writer


def writer_for(path: str) -> Writer:
    """What writes to this path."""
    return FileWriter(path)
