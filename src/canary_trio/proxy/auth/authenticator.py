"""The checks of a service, one after another, and a request that waits at one of them.

The rule that it obeys: a request passes all of them or is refused by the first that it does
not pass; while it waits it holds no task, and a client that leaves lets go of what was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from canary_trio.config.auth import BasicAuth, ForwardAuth
from canary_trio.proxy.auth.basic_auth import AUTHORIZATION
from canary_trio.proxy.auth.forward_auth import ForwardAuthCheck, fields_named
from canary_trio.proxy.auth.granted_head import granted_head
from canary_trio.proxy.auth.shared_question import Asker
from canary_trio.proxy.auth.verdict import Denied, Granted, Tell, Verdict
from canary_trio.telemetry.auth_counts import AuthCounts
from http_trio import Exchange, Upstream, error_response
from http_trio.http1.request_head import RequestHead

Pass = Callable[[bytes, Granted], None]
"""Goes on with the fields that are left of a request, and what it was granted."""


class Check(Protocol):
    """Something that a request must pass."""

    @property
    def counts(self) -> AuthCounts:
        """What it came to."""

    @property
    def rules(self) -> BasicAuth | ForwardAuth:
        """What the document says of it."""

    @property
    def hides(self) -> tuple[str, ...]:
        """The fields that are not passed on as a client sends them."""

    @property
    def name(self) -> str:
        """What the document calls it, and of which route it is."""

    @property
    def words(self) -> str:
        """What it goes by, for people."""

    @property
    def trouble(self) -> str:
        """Why it cannot say anything now, or nothing new; empty if it can."""

    def waiting(self) -> list[Asker]:
        """Give those who wait for its verdict."""

    def decide(self, exchange: Exchange, fields: bytes, tell: Tell) -> Verdict | Asker:
        """Give the verdict, or who is told it later.

        Args:
            exchange: the request.
            fields: of it, each line led by CRLF.
            tell: is called with the verdict where it is not given at once.
        """


class Authenticator:
    """The checks of one service.

    Args:
        checks: in their order.

    Attributes:
        checks: the same.
    """

    def __init__(self, checks: Sequence[Check]) -> None:
        self.checks = tuple(checks)
        names = [name for one in self.checks for name in one.hides]
        self._hidden = fields_named(names)
        self._granted = fields_named(name for name in names if name != AUTHORIZATION)

    def __repr__(self) -> str:
        return f"<Authenticator {self.checks}>"

    def routed_head(self, head: RequestHead, granted: Granted) -> RequestHead:
        """Give a request's head as rules are to see it."""
        return granted_head(head, self._granted, granted.lines)

    def after(self, first: Authenticator | None) -> Authenticator:
        """Give the same behind the checks of another one."""
        return self if first is None else Authenticator((*first.checks, *self.checks))

    @property
    def upstreams(self) -> list[Upstream]:
        """The servers that are asked."""
        return [
            one.upstream for one in self.checks if isinstance(one, ForwardAuthCheck)
        ]

    def without_hidden(self, fields: bytes) -> bytes:
        """Leave out what is not passed on as clients send it."""
        return fields if self._hidden is None else self._hidden.sub(b"", fields)

    def admit(
        self,
        exchange: Exchange,
        fields: bytes,
        then: Pass,
        refuse: Callable[[Denied], None],
        on_left: Callable[[], None],
    ) -> None:
        """Let a request pass, at once or later, or refuse it.

        Args:
            exchange: the request.
            fields: of it that go on, each line led by CRLF.
            then: is called if it may pass, with what of its fields may too.
            refuse: is called if it may not; it must respond.
            on_left: is called if the client goes away before that is known.
        """
        kept = self.without_hidden(fields)
        passage = _Passage(self.checks, exchange, fields, kept)
        passage.then, passage.refuse, passage.on_left = then, refuse, on_left
        passage.go_on(())


class _Passage:
    """One request on its way through the checks: what hangs on its exchange."""

    __slots__ = (
        "_asker",
        "_checks",
        "_exchange",
        "_fields",
        "_granted",
        "_kept",
        "on_left",
        "refuse",
        "then",
    )

    then: Pass
    refuse: Callable[[Denied], None]
    on_left: Callable[[], None]

    def __init__(
        self, checks: tuple[Check, ...], exchange: Exchange, fields: bytes, kept: bytes
    ) -> None:
        self._checks = checks
        self._exchange = exchange
        self._fields = fields
        self._kept = kept
        self._granted: tuple[Granted, ...] = ()
        self._asker: Asker | None = None

    def go_on(self, verdicts: tuple[Verdict, ...]) -> None:
        """Take a verdict, if there is one, and go to the next check."""
        exchange = self._exchange
        for verdict in verdicts:
            if isinstance(verdict, Denied):
                self.refuse(verdict)
                return
            self._granted += (verdict,)
        place = len(self._granted)
        if place == len(self._checks):
            self.then(self._kept, _together(self._granted))
            return
        found = self._checks[place].decide(exchange, self._fields, self._told)
        if isinstance(found, Asker):
            self._asker, exchange.attached = found, self
        else:
            self.go_on((found,))

    def client_gone(self) -> None:
        """Take that the client went away."""
        self._leave()
        self.on_left()

    def crashed(self) -> None:
        """Take that code raised which decides on the exchange."""
        self._leave()
        self._exchange.respond(error_response(500, ""))

    def _told(self, verdict: Verdict) -> None:
        self._asker, self._exchange.attached = None, None
        if not self._exchange.gone:
            self._exchange.decide(self.go_on, (verdict,))

    def _leave(self) -> None:
        asker, self._asker = self._asker, None
        self._exchange.attached = None
        if asker is not None:
            asker.leave()


def _together(granted: tuple[Granted, ...]) -> Granted:
    if len(granted) == 1:
        return granted[0]
    lines = b"".join(one.lines for one in granted)
    cookies = b"".join(one.cookies for one in granted)
    user = next((one.user for one in granted if one.user), b"")
    return Granted(lines, cookies, user)
