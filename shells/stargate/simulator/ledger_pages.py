"""The simulator's own pages, beside Bedrock's operations: no signature, for tests and for the curious.

GET    /healthz                  it lives
GET    /_simulator/requests      the last requests: how far each got, what it said, less its secrets
DELETE /_simulator/requests      forget them, and the counts
GET    /_simulator/statistics    counts by operation, outcome and error; who left before the end, and where
GET    /_simulator/scenarios     the table of scenarios
PUT    /_simulator/listing-fault the body, a scenario (`throw-ThrottlingException times=2`), befalls those who
                                 ask which models or inference profiles there are; empty: nothing does
"""

import msgspec

from stargate.simulator.directives import parse
from stargate.simulator.errors import Refusal
from stargate.simulator.events import Headers
from stargate.simulator.ledger import Ledger
from stargate.simulator.plan import Plan, document_plan
from stargate.simulator.scenarios import SCENARIOS, scenario_of

_JSON: Headers = [(b"Content-Type", b"application/json"), (b"Server", b"stargate-simulator")]


def plan(ledger: Ledger, method: bytes, target: bytes, sent: bytes = b"") -> Plan | None:
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
        case b"PUT", b"/_simulator/listing-fault":
            wish = sent.decode("utf-8", "replace")
            try:
                scenario_of(parse(wish))
            except Refusal as refusal:
                return document_plan(400, _JSON, refusal.error.body())
            ledger.listing_fault = wish
            body = {"status": "set"}
        case _:
            return document_plan(404, _JSON, b'{"message":"no such page"}')
    return document_plan(200, _JSON, msgspec.json.encode(body))
