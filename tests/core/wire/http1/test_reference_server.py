"""The reference server codec keeps the contract."""

from support.http1_server_contract import ServerContract


class TestContract(ServerContract):
    """What every server codec does."""

    kind = "reference"
