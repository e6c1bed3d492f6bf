"""What of a service's keys makes a page anew, and what waits for the next numbers."""

from __future__ import annotations

import pytest

from canary_trio.console.live.collecting import is_noisy
from canary_trio.control import store_keys as keys
from canary_trio.control.fleet.evidence import ROLLOUT, TRIAL

NAMES = ("a", "seen", "trial", "evidence", "state")


@pytest.mark.parametrize("service", ["web", "@edge", "seen"])
@pytest.mark.parametrize("proxy", NAMES)
def test_what_proxies_write_all_the_time_is_noisy(service: str, proxy: str) -> None:
    found = [keys.evidence_key(service, proxy, what) for what in (ROLLOUT, TRIAL)]
    found += [keys.seen_key(service, proxy), keys.driver_state_key(service)]
    assert all(is_noisy(key, service) for key in found)


@pytest.mark.parametrize("service", ["web", "@edge", "seen"])
@pytest.mark.parametrize("proxy", NAMES)
def test_a_report_is_not_whatever_the_proxy_is_called(service: str, proxy: str) -> None:
    found = [keys.config_key(service), keys.pending_key(service)]
    found += [keys.driver_key(service), keys.freeze_key(service)]
    found.append(keys.proxies_prefix(service) + proxy)
    assert not any(is_noisy(key, service) for key in found)
