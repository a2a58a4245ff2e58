"""The gateway's own AWS credentials: found where AWS's tools find them, and kept fresh.

`chain` asks botocore, `process` keeps a credential_process within limits, `problems` says what went wrong
without saying a secret, `keeper` asks again in time.
"""

from stargate.credentials.chain import Found, find
from stargate.credentials.keeper import Keeper

__all__ = ["Found", "Keeper", "find"]
