"""Which processes coverage follows: those of tests that are about the commands themselves.

The others start the same commands to look at something else: clients, balancers, changes under
load, what a killed store leaves. Coverage adds three quarters to what a short process costs, and
would learn nothing there.
"""

from __future__ import annotations

import pytest

UNTRACED = frozenset(
    {
        *("test_balancers", "test_descriptors", "test_gateway", "test_gateway_clients"),
        *("test_gateway_watch", "test_handover", "test_main_job", "test_names"),
        *("test_prometheus", "test_protocols", "test_rate_limits", "test_real_clients"),
        *("test_real_consul", "test_real_etcd", "test_routing", "test_soak"),
        *("test_store_crash", "test_store_disk", "test_store_handover", "test_traffic"),
    }
)

_VARIABLE = "COVERAGE_PROCESS_CONFIG"
"""By which coverage makes itself heard of in processes that are started."""


@pytest.fixture(scope="module", autouse=True)
def _traced(request: pytest.FixtureRequest):
    with pytest.MonkeyPatch.context() as patch:
        if request.module.__name__.rpartition(".")[2] in UNTRACED:
            patch.delenv(_VARIABLE, raising=False)
        yield
