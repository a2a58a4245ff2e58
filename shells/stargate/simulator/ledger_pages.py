"""The simulator's own pages, beside Bedrock's operations: no signature, for tests and for the curious.

GET    /healthz                  it lives
GET    /_simulator/requests      the last requests: how far each got, what it said, less its secrets
DELETE /_simulator/requests      forget them, and the counts
GET    /_simulator/statistics    counts by operation, outcome and error; who left before the end, and where
GET    /_simulator/scenarios     the table of scenarios
"""

import msgspec

from stargate.simulator.events import Headers
from stargate.simulator.ledger import Ledger
from stargate.simulator.plan import Plan, document_plan
from stargate.simulator.scenarios import SCENARIOS

_JSON: Headers = [(b"Content-Type", b"application/json"), (b"Server", b"stargate-simulator")]


def plan(ledger: Ledger, method: bytes, target: bytes) -> Plan | None:
    """The answer to a request for one of these pages; None: it is for none of them."""
    path = target.partition(b"?")[0]
    if path != b"/healthz" and not path.startswith(b"/_simulator/"):
        return None
    match method, path:
        case b"GET", b"/healthz":
            body: object = {"status": "ok"}
        case b"GET", b"/_simulator/requests":
            body = ledger.requests()
        case b"DELETE", b"/_simulator/requests":
            ledger.clear()
            body = {"status": "cleared"}
        case b"GET", b"/_simulator/statistics":
            body = ledger.statistics()
        case b"GET", b"/_simulator/scenarios":
            body = {name: scenario.summary for name, scenario in SCENARIOS.items()}
        case _:
            return document_plan(404, _JSON, b'{"message":"no such page"}')
    return document_plan(200, _JSON, msgspec.json.encode(body))
