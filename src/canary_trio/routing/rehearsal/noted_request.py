"""What is noted of a request, and a head that routers decide on as they did on its own. Pure.

A value that could be a secret, or tell who somebody is, is noted as two numbers: a digest by
a key that is drawn for each ring and never leaves it, and its bucket. When the request is
rehearsed, a value of that bucket stands in for it, or the value of the document that has its
digest: so what compares it, or asks for its bucket, decides as it did. What looks at its shape,
by a beginning or a pattern, cannot; then the request is said not to be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from urllib.parse import quote_from_bytes

import attrs

from canary_trio.config.rules import Source
from canary_trio.routing.buckets import bucket
from canary_trio.routing.rehearsal.reads import Name, Reads
from http_trio.http1.request_head import RequestHead, bodiless_request_head

_SLICE = 500  # values that are tried between two of others' turns: half a millisecond


@attrs.frozen
class Hidden:
    """A value that is not kept.

    Attributes:
        digest: the same for the same value.
        bucket: of the value, in the epoch in which it was noted.
    """

    digest: bytes
    bucket: int


@attrs.frozen
class NotedRequest:
    """What routers look at of one request.

    Attributes:
        path: the target up to `?`.
        client: its address; empty where nobody read it.
        framing: the body's length, or `framing.CHUNKED`.
        certificate: whether the client had one; what it says is not noted.
        values: by name, of those that were looked for and there.
        user: who asked, by his key; None where he has none.
        looked_for: what was noted where it was there.
        number: of the request among all that came.
        at: when, in seconds of a clock that only goes forward.
    """

    method: bytes
    path: bytes
    host: bytes
    client: str
    secure: bool
    framing: int
    certificate: bool
    values: Mapping[Name, bytes | Hidden]
    user: Hidden | None
    looked_for: Reads = attrs.field(repr=False)
    number: int
    at: float

    def buckets(self) -> Iterator[int]:
        """Give the buckets that something stands in for."""
        if self.user is not None:
            yield self.user.bucket
        for value in self.values.values():
            if isinstance(value, Hidden):
                yield value.bucket

    def head(
        self,
        stand_ins: Mapping[int, bytes],
        known: Mapping[tuple[Name, bytes], bytes],
        cookie: bytes,
    ) -> RequestHead:
        """Give a head to be routed.

        Args:
            stand_ins: a value for each bucket.
            known: values of documents, by name and digest.
            cookie: that shows who the user is, as `name=value`; empty for none.
        """
        kept = b""
        cookies: list[bytes] = []
        query: list[bytes] = []
        for (source, called), value in self.values.items():
            shown = value
            if isinstance(shown, Hidden):
                name = source, called
                shown = known.get((name, shown.digest)) or stand_ins[shown.bucket]
            if source is Source.COOKIE:
                cookies.append(b"%b=%b" % (called, shown))
            elif source is Source.QUERY:
                pair = quote_from_bytes(called, ""), quote_from_bytes(shown, "")
                query.append("=".join(pair).encode())
            elif called != b"host":  # it has its own place
                kept += b"\r\n%b: %b" % (called, shown)
        if cookie:
            cookies.append(cookie)  # last: routers look at all of the name for it
        if cookies:
            kept += b"\r\nCookie: " + b"; ".join(cookies)
        target = self.path + (b"?" + b"&".join(query) if query else b"")
        return bodiless_request_head(self.method, target, self.host, kept)


class StandIns:
    """A value for each bucket of an epoch; found by trying, and kept."""

    def __init__(self, salt: bytes) -> None:
        self.salt = salt
        self.found: dict[int, bytes] = {}
        self._tried = 0

    def __repr__(self) -> str:
        return f"<StandIns {len(self.found)} of {self._tried} tried>"

    def search(self, buckets: Iterable[int]) -> Iterator[None]:
        """Find a value for each of these; others may have a turn where it yields."""
        missing = set(buckets) - self.found.keys()
        while missing:
            for number in range(self._tried, self._tried + _SLICE):
                value = b"%016x" % number
                place = bucket(value, self.salt)
                self.found.setdefault(place, value)
                missing.discard(place)
            self._tried += _SLICE
            yield


def digest_of(value: bytes, key: bytes) -> bytes:
    """Give the digest of a value: keyed BLAKE2b (RFC 7693), 8 bytes."""
    return blake2b(value, digest_size=8, key=key).digest()
