"""Tickets of a world: the shells' own class (shell_common/tickets.py), for its callers."""

from typing import TypeAlias

from sim.callers import Caller
from stargate.shell_common.tickets import Tickets as _Tickets

Tickets: TypeAlias = _Tickets[Caller]
