"""The reference client codec keeps the contract."""

from support.http1_client_contract import ClientContract


class TestContract(ClientContract):
    """What every client codec does."""

    kind = "reference"
