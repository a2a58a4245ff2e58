"""What a world raises when something holds no longer."""


class Violation(Exception):
    """An invariant is broken. what: its name; detail: how."""

    def __init__(self, what: str, detail: str = "") -> None:
        super().__init__(f"{what}: {detail}" if detail else what)
        self.what = what
        self.detail = detail


def demand(holds: object, what: str, detail: str = "") -> None:
    """Raise Violation unless it holds."""
    if not holds:
        raise Violation(what, detail)
