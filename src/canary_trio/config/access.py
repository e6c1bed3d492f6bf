"""Who may pass to a service: frozen values. Pure.

What is a value here is valid: only the codecs in `parts` make them from outside.
"""

from __future__ import annotations

import attrs

from canary_trio import config
from canary_trio.config.policies import described
from canary_trio.config.rules import Key, Network, Source

BY_ADDRESS = Key(Source.ADDRESS, v6=64)
"""The key of a limit that says nothing else: who has one IPv6 address has its /64."""


@attrs.frozen
class RateLimit:
    """How many requests of one client, or of all, may pass in a time.

    Attributes:
        by: whose requests are counted together; None for those of all.
    """

    name: str = described(
        "Its name, once in a document: in responses, logs and metrics. What was counted is"
        " kept with it when the document changes."
    )
    requests: int = described(
        "Requests that may pass in `per` seconds, evenly: at most a million a second."
    )
    per: float = described("Seconds.", default=1.0)
    burst: int | None = described(
        "Requests that may come at once, after a pause; null for as many as `requests`.",
        default=None,
    )
    by: Key | None = described(
        "Whose requests are counted together: address (of IPv6 the /64), service for those"
        " of all, or a table with one of address (bits that count), header, cookie and"
        " query. Without that header, cookie or parameter the address is the key.",
        default=BY_ADDRESS,
    )
    exempt: tuple[Network, ...] = described(
        "Networks of clients whose requests are not counted.",
        called="except",
        default=(),
    )
    dry_run: bool = described(
        "Whether it only counts what it would refuse, and refuses nothing.",
        default=False,
    )

    @property
    def at_once(self) -> int:
        """The requests that may come at once."""
        return self.requests if self.burst is None else self.burst


@attrs.frozen
class Access:
    """Who may pass to a service, and with how much."""

    allow: tuple[Network, ...] = described(
        "Networks of clients that may pass, and nobody else; without any, all may.",
        default=(),
    )
    deny: tuple[Network, ...] = described(
        "Networks of clients that are refused with 403, whatever `allow` says.",
        default=(),
    )
    body: int | None = described(
        "Bytes of a request's body at most; a larger one is refused with 413. null for no"
        " limit.",
        default=None,
    )
    rate_limits: tuple[RateLimit, ...] = described(
        "How many requests may pass in a time; beyond it 429 with Retry-After. All that"
        " hold for a request must let it pass.",
        default=(),
    )
    basic_auth: config.BasicAuth | None = described(
        "A name and a password that a client must have; null for none.", default=None
    )
    forward_auth: config.ForwardAuth | None = described(
        "A server that is asked whether a request may pass; null for none.",
        default=None,
    )
