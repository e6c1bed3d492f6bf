"""The checks that a document asks for, made ready.

A check that the document before had is taken over, with all that it knows: so a change of
something else asks nobody again.
"""

from __future__ import annotations

from collections.abc import Callable

from canary_trio.config.access import Access
from canary_trio.config.auth import BasicAuth, ForwardAuth
from canary_trio.config.model import Arm, Protocol, Server
from canary_trio.errors import BadPasswords, InvalidConfig, Problem
from canary_trio.proxy.auth.authenticator import Authenticator, Check
from canary_trio.proxy.auth.basic_auth import BasicAuthCheck
from canary_trio.proxy.auth.forward_auth import ForwardAuthCheck
from canary_trio.proxy.auth.password_lists import PasswordLists
from canary_trio.telemetry.counters import Counters
from http_trio import Upstream


def arm_of(rules: ForwardAuth) -> Arm:
    """Give the server that is asked as if it were an arm's, for who connects to these."""
    http2 = rules.url.startswith("h2c:")
    protocol = Protocol.HTTP2 if http2 else Protocol.HTTP1
    return Arm((Server(rules.url, protocol=protocol),), tls=rules.tls)


async def make_auth(
    access: Access,
    before: Authenticator | None,
    passwords: PasswordLists,
    counters: Counters,
    upstream_of: Callable[[Arm], Upstream],
) -> Authenticator | None:
    """Make the checks of a service; None where it asks for none.

    Args:
        access: as the document has it.
        before: those of the document before; None for none.
        passwords: the files of users.
        counters: of the service.
        upstream_of: gives the upstream of the only server of an arm.

    Raises:
        InvalidConfig: a file of users cannot be used.
    """
    checks: list[Check] = []
    known = () if before is None else before.checks
    if access.basic_auth is not None:
        basic = access.basic_auth
        checks.append(
            _same(known, basic) or await _make_basic(basic, passwords, counters)
        )
    if access.forward_auth is not None:
        forward = access.forward_auth
        upstream = upstream_of(arm_of(forward))
        found = _same(known, forward)
        if not isinstance(found, ForwardAuthCheck) or found.upstream is not upstream:
            found = ForwardAuthCheck(
                forward, upstream, counters.of_check(ForwardAuthCheck.name)
            )
        checks.append(found)
    return Authenticator(checks) if checks else None


async def _make_basic(
    rules: BasicAuth, passwords: PasswordLists, counters: Counters
) -> BasicAuthCheck:
    try:
        users = await passwords.take(rules.file)
    except BadPasswords as exc:
        path = "$.access.basic_auth.file"
        problem = Problem(path, str(exc), "a file of users that can be read here")
        raise InvalidConfig([problem]) from exc
    return BasicAuthCheck(
        rules, users, counters.of_check(BasicAuthCheck.name), passwords.places
    )


def _same(known: tuple[Check, ...], rules: BasicAuth | ForwardAuth) -> Check | None:
    """Give the check that has these rules already."""
    return next((one for one in known if one.rules == rules), None)
