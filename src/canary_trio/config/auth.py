"""Who a client must show to be: frozen values. Pure.

What is a value here is valid: only the codecs in `parts` make them from outside.
"""

from __future__ import annotations

import enum
from typing import Protocol

import attrs

from canary_trio.config.policies import UpstreamTls, described


class OnFailure(enum.Enum):
    """What becomes of a request where nobody can say whether it may pass."""

    DENY = "deny"
    ALLOW = "allow"


@attrs.frozen
class BasicAuth:
    """Users by name and password (RFC 7617)."""

    file: str = described(
        "The name of a file of users (`canary passwd`), in the directory that the proxy was"
        " started with (`canary serve --passwords DIR`)."
    )
    realm: str = described(
        "What browsers name when they ask for a password.", default="restricted"
    )
    user_header: str | None = described(
        "The field that tells servers the user's name; what clients send by this name is"
        " never passed on. null for none.",
        default=None,
    )
    keep_authorization: bool = described(
        "Whether servers get the password too, in Authorization.", default=False
    )


@attrs.frozen
class AuthCache:
    """How long answers hold that were given once."""

    time: float = described("Seconds that a 2xx is kept.")
    by: tuple[str, ...] | None = described(
        "The fields of a request that tell one answer from another. null for all that the"
        " question has: method, scheme, host, URI, address of the client and"
        " `request_headers`.",
        default=None,
    )
    refusals: float = described(
        "Seconds that another answer is kept; 0 for not at all. 5xx never are.",
        default=0.0,
    )
    entries: int = described("Answers that are kept at most.", default=10_000)


@attrs.frozen
class ForwardAuth:
    """A server that is asked whether a request may pass, by a request without its body."""

    url: str = described(
        "Where it is, and what it is asked for: http://HOST[:PORT][/PATH], https://...,"
        " h2c://... or unix:/PATH."
    )
    path: str = described(
        "What it is asked for behind the path of `url`, such as /verify?app=a.",
        default="",
    )
    request_headers: tuple[str, ...] = described(
        "Fields of the request that it is told.", default=("Authorization", "Cookie")
    )
    copy_headers: tuple[str, ...] = described(
        "Fields of a 2xx that are taken along to the server; what clients send by these"
        " names is never passed on.",
        default=(),
    )
    user_header: str | None = described(
        "The field of a 2xx that names the user, for the access log; servers get it if"
        " `copy_headers` has it, and never as clients send it. null for none.",
        default=None,
    )
    set_cookies: bool = described(
        "Whether cookies that a 2xx sets go to the client.", default=False
    )
    timeout: float = described("Seconds that it may take.", default=5.0)
    on_failure: OnFailure = described(
        "What becomes of a request where it gives no answer in time, or 5xx: deny (503), or"
        " allow.",
        default=OnFailure.DENY,
    )
    cache: AuthCache | None = described(
        "How long its answers hold; null to ask for each request.", default=None
    )
    tls: UpstreamTls = described("Of https://, as an arm's.", factory=UpstreamTls)


class AuthRules(Protocol):
    """What has such rules: what a service says of access, or a route of a gateway."""

    @property
    def basic_auth(self) -> BasicAuth | None:
        """Names and passwords; None for none."""

    @property
    def forward_auth(self) -> ForwardAuth | None:
        """A server that is asked; None for none."""
