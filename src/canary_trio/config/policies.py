"""How an arm's servers are watched, limited and repeated: frozen values, seconds. Pure.

The defaults are those that users of proxies expect, and each is a field of the
document. What is a value here is valid: only `document` makes them from outside. One file,
since a reader of the document looks for one of these tables by its name.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs


def described(text: str, *, called: str | None = None, **more: Any) -> Any:
    """Give an attrs field with the words that the schema and the docs show.

    Args:
        text: the words.
        called: its name in the document, where that is no Python name.
        more: for `attrs.field`.
    """
    metadata = {"description": text} | ({"alias": called} if called else {})
    return attrs.field(metadata=metadata, **more)


def may_lack(text: str, *, called: str | None = None) -> Any:
    """Give a described field that is None where it is left out, and never said so."""
    field = described(text, called=called, default=None)
    field.metadata = {**field.metadata, "lacks": True}
    return field


def alias_of(field: attrs.Attribute[Any]) -> str:
    """Give a field's name in the document."""
    alias: str = field.metadata.get("alias", field.name)
    return alias


@attrs.frozen
class Health:
    """Active checks of an arm's servers."""

    path: str = described("What is asked for, with GET.", default="/")
    interval: float = described("Seconds between two checks.", default=2.0)
    timeout: float = described("Seconds that a check may take.", default=1.0)
    rise: int = described("Good checks in a row until a server is up.", default=2)
    fall: int = described("Bad checks in a row until it is down.", default=3)
    status: tuple[tuple[int, int], ...] = described(
        'Status codes that are good: a list of codes and ranges, such as ["200-299"].',
        default=((200, 299),),
    )
    jitter: float = described(
        "The share of the interval by which it varies, 0 to 1.", default=0.2
    )
    host: str = described("The Host field; by default the server's own.", default="")
    grpc: str | None = described(
        "The service that is asked for by grpc.health.v1 instead of path and status;"
        ' "" for the server as a whole. For servers that speak h2.',
        default=None,
    )


@attrs.frozen
class Ejection:
    """Passive checks: what requests tell of a server."""

    failures: int = described(
        "Failures in a row (no response, or 5xx) until a server is out; 0 for never.",
        default=5,
    )
    time: float = described(
        "Seconds that it is out the first time; the n-th time n times as long.",
        default=30.0,
    )
    longest: float = described("Seconds that it is out at most.", default=300.0)


@attrs.frozen
class ArmTimeouts:
    """The waits of a request, in seconds."""

    connect: float = described("Until a server has accepted.", default=3.0)
    response: float = described("Until the response's header has come.", default=30.0)
    idle: float = described("Between two bytes of a response.", default=300.0)
    tunnel: float = described("A WebSocket without a byte either way.", default=3600.0)
    request: float | None = described(
        "The whole request, retries included; null for no limit.", default=None
    )


@attrs.frozen
class Retries:
    """Trying again what was not sent, or is idempotent, before a response began."""

    tries: int = described("Further tries of one request, 0 to 5.", default=1)
    budget: float = described(
        "Retries at most, as a share of the arm's requests.", default=0.2
    )
    per_second: float = described("Retries that are always allowed.", default=3.0)
    backoff: float = described(
        "Seconds of the first pause, drawn from 0 up; doubled each time.", default=0.025
    )
    longest_backoff: float = described("Seconds of a pause at most.", default=0.25)
    status: tuple[tuple[int, int], ...] = described(
        'Responses that count as failed too: codes and ranges, such as ["502-504"].',
        default=(),
    )


@attrs.frozen
class ServerLimits:
    """How much one server is given at a time; beyond it 503 with Retry-After."""

    in_flight: int = described("Requests in progress.", default=1024)
    pending: int = described("Requests that wait for a place.", default=1024)
    wait: float = described("Seconds that one waits at most.", default=5.0)
    client_share: float = described(
        "The share of each of them that one client is given at most; 1 for all.",
        default=0.75,
    )


@attrs.frozen
class HeaderRules:
    """Fields to change; `remove` first, then `set`, then `add`."""

    add: Mapping[str, str] = described(
        "Fields to add beside those of the name.", factory=lambda: MappingProxyType({})
    )
    set: Mapping[str, str] = described(
        "Fields to put in the place of those of the name.",
        factory=lambda: MappingProxyType({}),
    )
    remove: tuple[str, ...] = described("Names of fields to leave out.", default=())


class Coding(enum.Enum):
    """A content coding."""

    ZSTD = "zstd"
    """RFC 8878; only where Python has it, or the extra `zstd` is installed."""

    GZIP = "gzip"


@attrs.frozen
class Compress:
    """Which responses are compressed for clients that ask for it (Accept-Encoding)."""

    types: tuple[str, ...] = described(
        "Media types, such as application/json; text/* for all of a kind, but not"
        " text/event-stream, which must be named; application/*+json for a suffix.",
        default=(
            "text/*",
            "application/json",
            "application/*+json",
            "application/javascript",
            "application/xml",
            "application/*+xml",
            "application/wasm",
            "application/x-ndjson",
            "image/svg+xml",
            "image/bmp",
            "image/x-icon",
            "image/vnd.microsoft.icon",
            "font/ttf",
            "font/otf",
        ),
    )
    codings: tuple[Coding, ...] = described(
        "Which may be used, the one to prefer first. zstd is passed over where Python has"
        " none (before 3.14, without the extra zstd).",
        default=(Coding.ZSTD, Coding.GZIP),
    )
    least: int = described(
        "Bytes of a body at least, where its length is known.", default=1024
    )
    level: int = described("Effort, 1 to 9.", default=5)


@attrs.frozen
class UpstreamTls:
    """How servers with `https://` are verified."""

    verify: bool = described("Whether their certificates are verified.", default=True)
    ca: str | None = described(
        "A file of certificates to trust instead of the system's.", default=None
    )
    server_name: str | None = described(
        "The name to ask for and verify; by default the URL's host.", default=None
    )
    client_cert: str | None = described(
        "A file with the certificate that servers are shown which ask for one, as PEM;"
        " read again when it changes.",
        default=None,
    )
    client_key: str | None = described(
        "The file of its private key; by default in the file of the certificate.",
        default=None,
    )


@attrs.frozen
class MirrorRule:
    """A copy of some requests for another arm; its responses are compared, not returned."""

    arm: str = described("The arm that gets the copies.")
    share: int = described("The share of requests copied, 0 to 1.", default=10_000)
    methods: tuple[str, ...] = described(
        "The methods of requests that are copied. Others than GET, HEAD and OPTIONS may"
        " change something, and a copy changes it again.",
        default=("GET", "HEAD", "OPTIONS"),
    )
    body: int = described(
        "Bytes of a request's body at most; beyond it no copy is made, nor where the body"
        " was streamed, as those beyond 64 KiB are.",
        default=64 * 1024,
    )
    concurrency: int = described(
        "Copies in progress at most; beyond it none is made.", default=32
    )
    timeout: float = described("Seconds that a copy may take.", default=10.0)


class OnChange(enum.Enum):
    """What becomes of long connections whose arm, server or route a change removed."""

    KEEP = "keep"
    DRAIN = "drain"
    RECALL = "recall"


@attrs.frozen
class Connections:
    """What a change does to WebSockets and streams that it would route elsewhere."""

    change: OnChange = described(
        "keep: they go on; drain: they are ended after `time`; recall: from the first"
        " second on, spread over `time`.",
        default=OnChange.KEEP,
    )
    time: float = described("Seconds.", default=30.0)


@attrs.frozen
class KeptHistory:
    """How many revisions of a document are kept, and for how long."""

    revisions: int = described(
        "The newest so many, the present one among them, 1 to 1000.", default=50
    )
    days: float = described(
        "Older ones than so many days are cleared, but for the newest five, 0.01 to 3650.",
        default=365.0,
    )


class Forwarded(enum.Enum):
    """What servers are told of the balancers between the client and us."""

    APPEND = "append"
    """What these said, and the one that connected."""

    REPLACE = "replace"
    """Nothing: the client alone."""


class CertificateHeader(enum.Enum):
    """The field by which servers learn of a client's verified certificate."""

    CLIENT_CERT = "Client-Cert"
    """The certificate itself (RFC 9440)."""

    FORWARDED = "X-Forwarded-Client-Cert"
    """Its hash, subject and names, as Envoy writes them."""


@attrs.frozen
class StrictTransport:
    """What browsers are told of coming by TLS only (RFC 6797)."""

    max_age: int = described("Seconds for which they come by TLS only; 0 to end it.")
    include_subdomains: bool = described(
        "Whether that holds for all names below the host's too.", default=False
    )
    preload: bool = described(
        "Whether the makers of browsers may ship the host's name; it needs"
        " include_subdomains, and a max_age of a year, 31536000.",
        default=False,
    )

    @property
    def value(self) -> str:
        """The value of the field."""
        parts = [f"max-age={self.max_age}"]
        if self.include_subdomains:
            parts.append("includeSubDomains")
        if self.preload:
            parts.append("preload")
        return "; ".join(parts)
