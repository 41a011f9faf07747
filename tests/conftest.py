"""Property tests are judged by what they find, not by how busy the machine is, and collections of
garbage do not look at what was imported to collect the tests.

Tests ask for collections by the thousand, to see that nothing is left: each would take a twentieth
of a second.
"""

from __future__ import annotations

import gc

from hypothesis import HealthCheck, settings

settings.register_profile("any load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any load")


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
