"""The configuration as frozen values.

What is a `Config` is valid: `document.load` is the only way to one from outside. It is
replaced whole, never changed.

One file, since a reader of the document finds its tables here in one place.

Shares are whole numbers of ten-thousandths, since the finest step is 0.0001.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

import attrs

from canary_trio import config
from canary_trio.config.access import Access
from canary_trio.config.policies import (
    ArmTimeouts,
    CertificateHeader,
    Compress,
    Connections,
    Ejection,
    Forwarded,
    HeaderRules,
    Health,
    KeptHistory,
    MirrorRule,
    Retries,
    ServerLimits,
    StrictTransport,
    UpstreamTls,
    described,
)
from canary_trio.config.rules import Key, Rule, Source
from canary_trio.config.url import UrlParts, split_url
from http_trio.hosts.introduction import ProxyVersion

WHOLE = 10_000
"""All traffic, in the steps of a share."""

STABLE, CANARY = "stable", "canary"


class Style(enum.Enum):
    """How a request without a session is given an arm."""

    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    HASH = "hash"


class Balance(enum.Enum):
    """How a server of an arm is chosen."""

    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    LEAST_REQUESTS = "least_requests"
    HASH = "hash"


class ServerMode(enum.Enum):
    """Which requests a server is given."""

    READY = "ready"
    DRAIN = "drain"
    """No new users: only what is sticky to it."""

    MAINTENANCE = "maintenance"
    """Nothing."""


class Protocol(enum.Enum):
    """What a server speaks."""

    HTTP1 = "http/1.1"
    HTTP2 = "h2"
    """HTTP/2: over TLS by ALPN, without it by prior knowledge (`h2c://`)."""


@attrs.frozen
class Server:
    """One server of an arm."""

    url: str = described(
        "Where it is: http://HOST[:PORT][/PREFIX], https://..., h2c://... or unix:/PATH."
    )
    weight: int = described(
        "Its share among the servers of its arm, 1 to 1000.", default=1
    )
    mode: ServerMode = described(
        "ready; drain: only users that are sticky to it; maintenance: nothing.",
        default=ServerMode.READY,
    )
    protocol: Protocol = described(
        "What it speaks: http/1.1, or h2 (HTTP/2, as gRPC needs it); of h2c:// that is h2.",
        default=Protocol.HTTP1,
    )
    proxy_protocol: ProxyVersion | None = described(
        "v1 or v2: each connection begins with a header of the PROXY protocol that names"
        " the client, whose alone it is; null for none. Not for h2.",
        default=None,
    )

    @property
    def speaks_http2(self) -> bool:
        """Whether it is spoken to in HTTP/2."""
        return self.protocol is Protocol.HTTP2

    @property
    def host(self) -> str:
        """The host, IPv6 without its brackets; "" for a Unix socket."""
        return self.parts.host.strip("[]")

    @property
    def port(self) -> int:
        """The port; 0 for a Unix socket."""
        return self.parts.port

    @property
    def prefix(self) -> str:
        """What goes before each target, without a last slash; "" for nothing."""
        return self.parts.prefix

    @property
    def path(self) -> str:
        """The path of a Unix socket; "" for a host."""
        return self.parts.path

    @property
    def is_tls(self) -> bool:
        """Whether connections to it use TLS."""
        return self.url.startswith("https:")

    @property
    def parts(self) -> UrlParts:
        """The URL, taken apart."""
        parts = split_url(self.url)
        assert parts is not None, "the loader lets no other URL pass"
        return parts


_ADDRESS = Key(Source.ADDRESS)


@attrs.frozen
class Arm:
    """One version behind the proxy."""

    servers: tuple[Server, ...] = described("Its servers, at least one.")
    balance: Balance = described(
        "How a server is chosen: round_robin, random, least_requests or hash.",
        default=Balance.ROUND_ROBIN,
    )
    hash_by: Key = described(
        "The key of balance `hash`: address, or a header, cookie or query parameter.",
        default=_ADDRESS,
    )
    health: Health | None = described(
        "Active checks: true, false, or a table.", default=None
    )
    ejection: Ejection = described("Passive checks.", factory=Ejection)
    panic_threshold: float = described(
        "If a smaller share of the servers is healthy, health is ignored, 0 to 1.",
        default=0.5,
    )
    slow_start: float = described(
        "Seconds in which a server that came back grows to its weight.", default=0.0
    )
    fallback: str | None = described(
        "The arm that serves when no server is usable; by default `stable`, and none for"
        " `stable` itself. null for none.",
        default=STABLE,
    )
    timeouts: ArmTimeouts = described("The waits of a request.", factory=ArmTimeouts)
    retries: Retries = described("Trying again.", factory=Retries)
    limits: ServerLimits = described("Of each server.", factory=ServerLimits)
    request_headers: HeaderRules = described(
        "Changes to requests.", factory=HeaderRules
    )
    response_headers: HeaderRules = described(
        "Changes to responses.", factory=HeaderRules
    )
    compress: Compress | None = described(
        "Compression of responses: true, false, or a table.", default=None
    )
    tls: UpstreamTls = described("Of servers with https://.", factory=UpstreamTls)

    @property
    def is_unverified(self) -> bool:
        """Whether it has servers whose certificates nobody looks at."""
        return not self.tls.verify and any(one.is_tls for one in self.servers)


class SameSite(enum.Enum):
    """When a browser sends the cookie to us from other sites (RFC 6265bis)."""

    LAX = "lax"
    STRICT = "strict"
    NONE = "none"


@attrs.frozen
class Sticky:
    """Users keep their arm: by a cookie that we sign, a header, or their network."""

    # In the document one of three fields; without a name it is the service's cookie.
    key: Key = Key(Source.COOKIE)
    epoch: int = described("Raise it to draw all users anew.", default=0)
    server: bool = described(
        "Whether they keep their server inside the arm too.", default=False
    )
    forward: bool = described("Whether servers see the cookie.", default=False)
    max_age: int | None = described(
        "Seconds that the cookie lives; null for the browser's session.", default=None
    )
    domain: str | None = described("The cookie's Domain; null for none.", default=None)
    same_site: SameSite = described(
        "The cookie's SameSite: lax, strict or none.", default=SameSite.LAX
    )


@attrs.frozen
class Config:
    """A valid document."""

    arms: Mapping[str, Arm] = described("The versions by name; `stable` is required.")
    style: Style = described(
        "How a request without a session is given an arm: round_robin (exact), random,"
        " or hash (by `hash_by`).",
        default=Style.ROUND_ROBIN,
    )
    hash_by: Key = described(
        "The key of style `hash`: address, or a header, cookie or query parameter.",
        default=_ADDRESS,
    )
    ratio: Mapping[str, int] = described(
        "The share of arm `canary`, from 0 to 1 in steps of 0.0001, or a table of shares"
        " by arm; the rest is `stable`'s.",
        factory=lambda: MappingProxyType({}),
    )
    sticky_sessions: Sticky | None = described(
        "Whether users keep their arm: false, true (a cookie), or a table.",
        default=None,
    )
    rules: tuple[Rule, ...] = described(
        "First match wins, before stickiness and before the ratio.", default=()
    )
    mirror: MirrorRule | None = described(
        "Copies of requests for another arm.", default=None
    )
    connections: Connections = described(
        "What a change does to long connections whose arm, server or route is gone: keep,"
        " drain, recall, or a table.",
        factory=Connections,
    )
    request_id: str | None = described(
        "The name of a field that names each request for the servers: a client's own"
        " name is kept if it is short and harmless, else one is made; null for none.",
        default="X-Request-Id",
    )
    start_traces: float | None = described(
        "If set, a request without a valid `traceparent` is given one (W3C Trace"
        " Context), and this share of them, 0 to 1, asks to be recorded. A valid one is"
        " always passed on.",
        default=None,
    )
    decision_header: str | None = described(
        "The name of a response field that says revision, arm and reason; null for none.",
        default=None,
    )
    forwarded: Forwarded | None = described(
        "What X-Forwarded-* and Forwarded tell servers: append, the client and the trusted"
        " balancers behind it; replace, the client alone; null, as the proxy's --forwarded"
        " says.",
        default=None,
    )
    client_cert_header: CertificateHeader | None = described(
        "The field that tells servers of a client's verified certificate: Client-Cert"
        " (RFC 9440) or X-Forwarded-Client-Cert; null for none. What clients send by these"
        " names is never passed on.",
        default=None,
    )
    strict_transport_security: StrictTransport | None = described(
        "The field of that name (RFC 6797), sent to clients over TLS only: its value, or a"
        " table. An arm's own is left out, unless the arm's response_headers set one."
        " null to leave servers theirs.",
        default=None,
    )
    access: Access = described(
        "Who may pass, and who is refused before a request is routed.", factory=Access
    )
    rollout: config.Rollout | None = described(
        "Steps by which the ratio of an arm is raised, and how that stands; null for none.",
        default=None,
    )
    history: KeptHistory = described(
        "How many revisions of the document are kept; who writes clears older ones.",
        factory=KeptHistory,
    )
    config_server: str | None = described(
        "Where the next document is read; by default where this one was.", default=None
    )
    update_rate: float = described(
        "Seconds until the store is asked again when nothing changes, 0.1 to 600.",
        default=30.0,
    )

    @property
    def shares(self) -> dict[str, int]:
        """The shares of all arms in the ratio, and of `stable`, which has the rest."""
        return {STABLE: WHOLE - sum(self.ratio.values()), **self.ratio}

    @property
    def unverified(self) -> tuple[str, ...]:
        """The arms whose servers anybody on the way can pose as."""
        return tuple(name for name, arm in self.arms.items() if arm.is_unverified)


def format_share(share: int) -> str:
    """Write a share as people do.

    >>> format_share(2500), format_share(1), format_share(10_000)
    ('0.25', '0.0001', '1')
    """
    return f"{share / WHOLE:.4f}".rstrip("0").rstrip(".")
