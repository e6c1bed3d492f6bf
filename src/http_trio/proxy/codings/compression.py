"""Which responses are compressed, and what is said of it. Pure, but for what it counts.

What makes a response another one says so: its coding, a weak ETag (RFC 9110 section
8.8.1), no length, no ranges. What might have been another one for another client says that
too, by Vary. The rule that it obeys: what was encoded already, is a part of something, has
a digest, or is not to be transformed goes on as it came.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterable

import attrs

from http_trio.http1.fields import collect_fields, find_values
from http_trio.http1.request_head import RequestHead
from http_trio.http1.response_head import ResponseHead
from http_trio.proxy.codings.coders import CODINGS, Encoder, make_encoder
from http_trio.proxy.codings.encoded_body import DIGESTS
from http_trio.proxy.codings.negotiation import (
    ACCEPT_BYTES,
    choose_coding,
    refuses_identity,
)

AT_ONCE = 512
"""Responses that are compressed at a time, of one arm; beyond it they go out as they are.

Each has an encoder, for as long as its client takes: see `coders.ENCODER_BYTES`.
"""

_FIELDS = re.compile(
    rb"""\r\n(?=[cdervsCDERVS])
    (c(?:ontent-(?:type|encoding|range|digest|md5)|ache-control)|digest|etag|vary
    |repr-digest|signature(?:-input)?)
    :[ \t]*([^\r\n]*)""",
    re.IGNORECASE | re.VERBOSE,
)
_ETAG = re.compile(rb'(\r\netag:[ \t]*)(?=")', re.IGNORECASE)
_RANGES = re.compile(rb"\r\naccept-ranges:[^\r\n]*", re.IGNORECASE)
_NO_TRANSFORM = re.compile(rb"(?:^|[,\s])no-transform(?:$|[,;\s])", re.IGNORECASE)
_VARY = b"\r\nVary: Accept-Encoding"
_BODILESS = frozenset({204, 205, 206})
_GRPC, _EVENTS = b"application/grpc", b"text/event-stream"

Said = dict[bytes, list[bytes]]


def _lower(types: Iterable[bytes]) -> frozenset[bytes]:
    return frozenset(one.lower() for one in types)


@attrs.frozen(eq=False)
class Compression:
    """The rules of one arm.

    Attributes:
        types: media types, without parameters; `b"text/*"` for all of a kind, but not for
            `text/event-stream`, which must be named, and `b"application/*+json"` for
            those of a suffix.
        codings: which may be used, the best first; those that there are not are passed over.
        least: bytes of a body, where its length is known; smaller ones grow, and are
            encoded for those alone who refuse what is not.
        level: effort, as of `coders.LEVELS`.
        at_once: responses that are compressed at a time.
    """

    types: frozenset[bytes] = attrs.field(converter=_lower)
    codings: tuple[bytes, ...] = CODINGS
    least: int = 1024
    level: int = 5
    at_once: int = AT_ONCE
    _encoders: weakref.WeakSet[Encoder] = attrs.field(
        factory=weakref.WeakSet, init=False, repr=False
    )

    @property
    def in_progress(self) -> int:
        """How many responses are compressed now."""
        return len(self._encoders)

    def begin(self, request: RequestHead, head: ResponseHead) -> Encoder | None:
        """Give the encoder for a response, whose head then says so; None for none.

        Args:
            request: the head of its request.
            head: of the response, `private`: it is changed.
        """
        if head.status == 304:
            _revalidated(request, head)
            return None
        said = collect_fields(_FIELDS.split(head.kept))
        if head.status in _BODILESS or not self._may_be(said):
            return None
        _vary(head, said)
        accepted = b",".join(find_values(request.raw, b"accept-encoding"))
        coding = self._coding(request, accepted)
        if coding is None or not said.keys().isdisjoint(DIGESTS):
            return None
        least = 1 if refuses_identity(accepted) else max(self.least, 1)
        if request.method == b"HEAD":  # as to GET, but that nothing is encoded
            if head.length is None or int(head.length) >= least:
                _encoded(head)
            return None
        if 0 <= head.framing < least or self.in_progress >= self.at_once:
            return None
        _encoded(head)
        head.kept += b"\r\nContent-Encoding: " + coding
        encoder = make_encoder(coding, self.level)
        self._encoders.add(encoder)
        return encoder

    def _may_be(self, said: Said) -> bool:
        """Tell whether a response is of a type that is compressed, and whole, and plain."""
        if b"content-encoding" in said or b"content-range" in said:
            return False
        if any(map(_NO_TRANSFORM.search, said.get(b"cache-control", ()))):
            return False
        types = said.get(b"content-type", ())
        if len(types) != 1:
            return False
        return self._names(types[0].partition(b";")[0].strip(b" \t").lower())

    def _names(self, media: bytes) -> bool:
        if media.startswith(_GRPC):
            return False  # it has a compression of its own, message by message
        if media in self.types:
            return True
        kind, _, name = media.partition(b"/")
        _, plus, suffix = name.rpartition(b"+")
        return media != _EVENTS and (
            kind + b"/*" in self.types or kind + b"/*" + plus + suffix in self.types
        )

    def _coding(self, request: RequestHead, accepted: bytes) -> bytes | None:
        """Give the coding for a client; one of HTTP/1.0 would lose its connection."""
        asked = find_values(request.raw, b"cache-control")
        if request.http10 or any(map(_NO_TRANSFORM.search, asked)):
            return None
        if not 0 < len(accepted) <= ACCEPT_BYTES:
            return None
        offered = tuple(one for one in self.codings if one in CODINGS)
        return choose_coding(accepted, offered)


def _encoded(head: ResponseHead) -> None:
    """Let a head say that its content is not byte for byte what the server has."""
    head.length = None
    head.kept = _RANGES.sub(b"", _ETAG.sub(rb"\1W/", head.kept))


def _vary(head: ResponseHead, said: Said) -> None:
    names = b",".join(said.get(b"vary", ())).lower().replace(b" ", b"").split(b",")
    if b"*" not in names and b"accept-encoding" not in names:
        head.kept += _VARY


def _revalidated(request: RequestHead, head: ResponseHead) -> None:
    """Name what the client has as it knows it (RFC 9110 section 15.4.5).

    It compares our weak ETag with the strong one that the server says.
    """
    said = collect_fields(_FIELDS.split(head.kept))
    _vary(head, said)
    known = b",".join(find_values(request.raw, b"if-none-match"))
    for tag in said.get(b"etag", ()):
        weak, strong = b"W/" + tag, known.replace(b"W/" + tag, b"")
        if tag.startswith(b'"') and weak in known and tag not in strong:
            head.kept = _ETAG.sub(rb"\1W/", head.kept)
