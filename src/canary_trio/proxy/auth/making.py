"""The checks that a document asks for, made ready.

A check that the document before had is taken over, with all that it knows: so a change of
something else asks nobody again.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from canary_trio.config.auth import AuthRules, BasicAuth, ForwardAuth
from canary_trio.config.model import Arm, Protocol, Server
from canary_trio.errors import BadPasswords, InvalidConfig, Problem
from canary_trio.proxy.auth.authenticator import Authenticator, Check
from canary_trio.proxy.auth.basic_auth import BasicAuthCheck
from canary_trio.proxy.auth.forward_auth import ForwardAuthCheck, TellAuth
from canary_trio.proxy.auth.password_lists import PasswordLists
from canary_trio.telemetry.counters import Counters
from http_trio import Upstream


def arm_of(rules: ForwardAuth) -> Arm:
    """Give the server that is asked as if it were an arm's, for who connects to these."""
    http2 = rules.url.startswith("h2c:")
    protocol = Protocol.HTTP2 if http2 else Protocol.HTTP1
    return Arm((Server(rules.url, protocol=protocol),), tls=rules.tls)


@attrs.frozen
class RulesPlace:
    """Where rules stand: in the document, and in the counters.

    Attributes:
        path: of what has them in the document.
        suffix: of the names of their counters.
    """

    path: str = "$.access"
    suffix: str = ""


OF_SERVICE = RulesPlace()
"""The place of a service's own rules."""


async def make_auth(
    rules: AuthRules,
    before: Authenticator | None,
    passwords: PasswordLists,
    counters: Counters,
    upstream_of: Callable[[Arm], Upstream],
    place: RulesPlace,
    *,
    tell: TellAuth | None = None,
) -> Authenticator | None:
    """Make the checks of a service or a route; None where it asks for none.

    Args:
        rules: as the document has them.
        before: those of the document before; None for none.
        passwords: the files of users.
        counters: of the service.
        upstream_of: gives the upstream of the only server of an arm.
        place: of the rules.
        tell: told who gives no answer; see `ForwardAuthCheck`.

    Raises:
        InvalidConfig: a file of users cannot be used.
    """
    checks: list[Check] = []
    known = () if before is None else before.checks
    if rules.basic_auth is not None:
        basic = rules.basic_auth
        checks.append(
            _same(known, basic) or await _make_basic(basic, passwords, counters, place)
        )
    if rules.forward_auth is not None:
        forward = rules.forward_auth
        upstream = upstream_of(arm_of(forward))
        found = _same(known, forward)
        if not isinstance(found, ForwardAuthCheck) or found.upstream is not upstream:
            name = "forward_auth" + place.suffix
            counts = counters.of_check(name)
            found = ForwardAuthCheck(forward, upstream, counts, name, tell)
        checks.append(found)
    return Authenticator(checks) if checks else None


async def _make_basic(
    rules: BasicAuth, passwords: PasswordLists, counters: Counters, place: RulesPlace
) -> BasicAuthCheck:
    try:
        users = await passwords.take(rules.file)
    except BadPasswords as exc:
        path = f"{place.path}.basic_auth.file"
        problem = Problem(path, str(exc), "a file of users that can be read here")
        raise InvalidConfig([problem]) from exc
    name = "basic_auth" + place.suffix
    counts = counters.of_check(name)
    return BasicAuthCheck(rules, users, counts, passwords.places, name)


def _same(known: tuple[Check, ...], rules: BasicAuth | ForwardAuth) -> Check | None:
    """Give the check that has these rules already."""
    return next((one for one in known if one.rules == rules), None)
