"""What `stargate bench` is made of: it measures an OpenAI-compatible endpoint as its users meet it.

All but one file is pure: bytes and moments go in, figures come out. `arrivals.py` says when requests are due,
`asking.py` what they are, `answer.py` reads an answer and notes when each part of it came, `histogram.py` and
`tally.py` keep what was measured in a bounded space, `report.py` and `plot.py` show it. Sockets and the clock
are in `run.py` alone.
"""
