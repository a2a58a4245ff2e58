"""The examples that stand below each command's help: what people type.

They are text for a person, and a test reads them too (tests/shells/cli/test_help.py): each is a line for a
shell in which the command stands with options that it takes.
"""


def examples(*lines: str) -> str:
    """A command's epilog."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
