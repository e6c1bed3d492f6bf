"""Behind a balancer that is trusted: everything sees the client that it names."""

from __future__ import annotations

import pytest

from canary_trio.testing import arm, proxied, says_canary, says_stable
from http_trio import ForwardedPolicy
from http_trio.testing.peers import connected, fake_upstream

SAID = (
    b"X-Forwarded-For: 6.6.6.6, 203.0.113.9",
    b"X-Forwarded-Proto: https",
    b"X-Real-IP: 203.0.113.9",
)


@pytest.mark.parametrize("trusted", [True, False])
async def test_rules_cookies_and_servers_see_the_same_client(trusted: bool) -> None:
    clients = ForwardedPolicy(trusted=("127.0.0.0/8",) if trusted else ())
    rules = [{"network": "203.0.113.0/24", "arm": "canary"}]
    document = {"ratio": 0, "rules": rules, "sticky_sessions": {}}
    async with (
        fake_upstream(says_stable) as stable,
        fake_upstream(says_canary) as canary,
    ):
        arms = {"stable": arm(stable), "canary": arm(canary)}
        async with proxied(arms, clients=clients, **document) as proxy:
            async with connected(proxy.server) as client:
                _, body = await client.ask(b"/", *SAID)
                head, _ = await client.ask(b"/", b"X-Forwarded-Proto: https")
    sent = [*canary.asked, *stable.asked][0].head
    if trusted:
        assert body == b"canary"
        assert b"\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.9, 127.0.0.1\r\n" in sent
        assert b"\r\nX-Forwarded-Proto: https\r\n" in sent
        assert b"\r\nX-Real-IP: 203.0.113.9" in sent
    else:
        assert body == b"stable"
        assert b"203.0.113.9" not in sent
        assert b"\r\nX-Forwarded-Proto: http\r\n" in sent
    cookies = [row for row in head.split(b"\r\n") if row.startswith(b"Set-Cookie")]
    assert cookies
    assert all((b"; Secure" in row) == trusted for row in cookies)


@pytest.mark.parametrize("option", [False, True], ids=["append", "replace"])
@pytest.mark.parametrize("field", [None, "append", "replace"])
async def test_a_document_says_what_servers_are_told(
    field: str | None, option: bool
) -> None:
    clients = ForwardedPolicy(trusted=("127.0.0.0/8",), replaces=option)
    async with fake_upstream(says_stable) as stable:
        arms = {"stable": arm(stable)}
        async with proxied(arms, clients=clients, ratio=0, forwarded=field) as proxy:
            async with connected(proxy.server) as client:
                await client.ask(b"/", *SAID)
                await client.ask(b"/")
    sent, unsaid = (asked.head for asked in stable.asked)
    alone = option if field is None else field == "replace"
    chain = b"203.0.113.9" if alone else b"6.6.6.6, 203.0.113.9, 127.0.0.1"
    assert b"\r\nX-Forwarded-For: " + chain + b"\r\n" in sent
    assert (b", for=" in sent) == (not alone)
    assert b"\r\nX-Forwarded-Proto: https\r\n" in sent
    assert b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in unsaid
