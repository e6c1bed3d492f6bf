"""What it costs a request that it must show who asks, where that is known already.

    python -m benchmarks.auth

Prints microseconds of CPU time per request, the best of several runs, for a browser's request
of 620 bytes: with a password that was right before, and with an answer of `forward_auth` that is
kept. Then what a look at a password costs in a thread, which is paid once.
"""

from __future__ import annotations

import base64
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import trio

from benchmarks.routing import request
from canary_trio.config.auth import AuthCache, BasicAuth, ForwardAuth
from canary_trio.proxy.auth.authenticator import Authenticator, Check
from canary_trio.proxy.auth.basic_auth import BasicAuthCheck
from canary_trio.proxy.auth.forward_auth import ForwardAuthCheck
from canary_trio.proxy.auth.password_file import PasswordFile
from canary_trio.proxy.auth.password_hash import hash_password, parse_hash
from canary_trio.proxy.auth.password_lists import PasswordList
from canary_trio.proxy.auth.verdict import Denied, Granted
from canary_trio.telemetry.auth_counts import AuthCounts
from http_trio import Upstream
from http_trio.http1.request_head import parse_request_head
from http_trio.limits import Limits

REQUESTS = 2000
RUNS = 25
SHOWS = request(
    Authorization="Basic " + base64.b64encode(b"ann:secret").decode(),
    Cookie="theme=dark; session=0123456789abcdef",
)
SAID = (
    b"\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https"
    b"\r\nX-Forwarded-Host: shop.example.org\r\nForwarded: for=192.0.2.7;proto=https"
    b"\r\nVia: 1.1 canary-trio"
)


def basic() -> Check:
    kept = parse_hash("$scrypt$ln=1,r=1,p=1$" + "A" * 22 + "$" + "A" * 43)
    users = PasswordList(Path("staff"), PasswordFile({"ann": kept}), None)
    check = BasicAuthCheck(
        BasicAuth("staff", user_header="X-User"),
        users,
        AuthCounts(),
        trio.CapacityLimiter(1),
    )
    key = check.key_of("ann", b"secret")
    check._known.put(key, kept, until=float("inf"))  # noqa: SLF001  # it was right before
    return check


def forward(*by: str) -> Check:
    cache = AuthCache(60, by or None)
    rules = ForwardAuth("http://auth", copy_headers=("Remote-User",), cache=cache)
    check = ForwardAuthCheck(rules, Upstream("auth", (), b"auth"), AuthCounts())
    fields = parse_request_head(SHOWS, Limits()).kept
    question = check._question(exchange(), fields)  # noqa: SLF001
    granted = Granted(b"\r\nRemote-User: ann")
    check._kept.put(check._key_of(question, fields), granted, until=float("inf"))  # noqa: SLF001
    return check


def exchange() -> Any:
    head = parse_request_head(SHOWS, Limits())
    return cast(
        Any,
        SimpleNamespace(
            head=head,
            client="192.0.2.7",
            loop=SimpleNamespace(now=0.0),
            forwarded_fields=lambda: SAID,
        ),
    )


def cost_us(*checks: Check) -> float:
    """Give microseconds that checks cost a request that passes them."""
    auth, asked = Authenticator(checks), exchange()
    fields, passed = asked.head.kept, 0

    def passes(_: bytes, granted: Granted) -> None:
        nonlocal passed
        auth.routed_head(asked.head, granted)
        passed += 1

    def refuse(denied: Denied) -> None:
        raise AssertionError(denied)

    best = float("inf")
    for _ in range(RUNS):
        begun = time.process_time_ns()
        for _ in range(REQUESTS):
            auth.admit(asked, fields, passes, refuse, lambda: None)
        best = min(best, (time.process_time_ns() - begun) / REQUESTS)
    assert passed == RUNS * REQUESTS
    return best / 1e3


def main() -> None:
    print("us per request (CPU):")
    print(f"  basic_auth, known         {cost_us(basic()):8.2f}")
    print(f"  forward_auth, kept        {cost_us(forward()):8.2f}")
    print(f"  forward_auth, by Cookie   {cost_us(forward('Cookie')):8.2f}")
    kept = parse_hash(hash_password("secret"))
    begun = time.process_time()
    kept.matches(b"secret")
    print(f"a look at a password: {(time.process_time() - begun) * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
