"""Settings of the suite, and nothing else: fixtures stand beside what they serve, in tests/support.

Hypothesis has three profiles. `default` looks for new examples, as many as a person will wait for. `ci` draws
the same examples every time, so that the verdict over a commit does not change from one run to the next.
`thorough` is for a night, or a suspicion: `tox -e py -- --hypothesis-profile=thorough PATH`. None has a
deadline: how long an example takes says more about the machine than about the code.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "default", max_examples=100, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=5_000)
settings.load_profile("ci" if os.environ.get("CI") else "default")
