"""What a request shows to rules and keys: fields, cookies, query, address. Pure.

Which of them a revision asks for is known when it is compiled; so a `RequestReader` looks for
those only, in one pass over the raw head, and a revision that asks for none reads
nothing. Of several fields of a name the first counts, and of cookies and parameters
too; several Cookie fields are one (RFC 6265 section 5.4 allows one). One file, since what
is read of a request and what finds a key in it know the same places.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol
from urllib.parse import unquote_to_bytes

from canary_trio.config.rules import CertificatePart, Key, Source
from canary_trio.routing.request.paths import is_odd, plain_path
from http_trio.hosts.addresses import parse_address
from http_trio.http1.heads.shared_fields import SharedFields
from http_trio.http1.request_head import RequestHead


class ClientCertificate(Protocol):
    """What rules look at of a client's verified certificate: an `http_trio.Certificate`."""

    @property
    def subject(self) -> str:
        """The subject (RFC 4514)."""

    @property
    def common_name(self) -> str | None:
        """Of the subject; None without one."""

    @property
    def alternative_names(self) -> tuple[str, ...]:
        """All names beside the subject."""


Found = dict[bytes, bytes]
GetKey = Callable[["RequestView"], bytes | None]

_SEVERAL = 8  # names up to which they are looked for, and beyond which all are read
_COOKIE = b"cookie"
SLOTS = {Source.HEADER: 0, Source.COOKIE: 1, Source.QUERY: 2, Source.ADDRESS: 3}
"""Where a source's values are in `RequestView.found`; an address has none."""


class RequestView:
    """The parts of one request that rules and keys ask for.

    Attributes:
        found: what was looked for, by slot (`SLOTS`) and name: fields by their
            lower-case name, cookies, and parameters percent-decoded.
        certificate: the client's, verified; None where it has none, or nobody asks.
    """

    __slots__ = ("_path", "certificate", "client", "found", "head")

    def __init__(self, head: RequestHead, client: str) -> None:
        self.head = head
        self.client = client
        self.found = [_NOTHING, _NOTHING, _NOTHING, _NOTHING]
        self._path: bytes | None = None
        self.certificate: ClientCertificate | None = None

    def __repr__(self) -> str:
        return f"<RequestView {self.head.target!r} from {self.client}>"

    @property
    def path(self) -> bytes:
        """The target up to `?`, as it is compared with prefixes (`plain_path`)."""
        path = self._path
        if path is None:
            path = self.head.target.partition(b"?")[0]
            if is_odd(path):
                path = plain_path(path)
            self._path = path
        return path

    def host(self) -> bytes:
        """Give the host that was asked for, in lower case, without port or last dot."""
        return plain_host(self.head.host)

    def cookies_named(self, name: bytes) -> list[bytes]:
        """Give all cookies of a name, in order; `found` has the first."""
        header = self.found[_FIELDS].get(_COOKIE, b"")
        pairs = cookie_pattern({name}).findall(header)
        return [value.strip(b' \t"') for found, value in pairs if found == name]

    def certificate_values(self, part: str) -> tuple[bytes, ...]:
        """Give what the client's certificate says; empty where there is none.

        Args:
            part: the value of a `CertificatePart`.
        """
        certificate = self.certificate
        if certificate is None:
            return ()
        if part == CertificatePart.SUBJECT.value:
            return (certificate.subject.encode(),)
        if part == CertificatePart.SAN.value:
            return tuple(name.encode() for name in certificate.alternative_names)
        name = certificate.common_name
        return () if name is None else (name.encode(),)


_NOTHING: Found = {}
_FIELDS, _COOKIES, _QUERY = range(3)
_QUESTION_MARK = ord("?")


class RequestReader:
    """Looks at requests for what one revision asks.

    Args:
        keys: of all that it asks for.
    """

    def __init__(self, keys: Iterable[Key]) -> None:
        names: dict[Source, set[bytes]] = {source: set() for source in Source}
        for key in keys:
            names[key.source].add(name_of(key))
        fields = set(names[Source.HEADER])
        cookies = names[Source.COOKIE]
        if cookies:
            fields.add(_COOKIE)
        self._asks_cookie = _COOKIE in fields
        self._find_fields = _field_pattern(fields).findall if fields else None
        self._one_field = next(iter(fields)) if len(fields) == 1 else None
        if self._one_field is not None:  # 0.2 us less than several
            self._find_one = _one_pattern(self._one_field).findall
        self._cookies = cookie_pattern(cookies) if cookies else None
        self._parameters = tuple(names[Source.QUERY])

    def read(self, head: RequestHead, client: str) -> RequestView:
        """Read what the revision asks for from a request."""
        view = RequestView(head, client)
        if head.shared is None:
            self._note_all(view.found, head.raw)
        else:
            self._note_shared(view.found, head, head.shared)
        if self._parameters and _QUESTION_MARK in head.target:
            query = head.target.partition(b"?")[2]
            if may_have(query, self._parameters):
                view.found[_QUERY] = read_query(query)
        return view

    def _note_all(self, found: list[Found], raw: bytes) -> None:
        """Note the fields that the revision asks for, of a raw head or a part of it."""
        if self._one_field is not None:
            values = self._find_one(raw)
            if values:
                self._note_field(found, self._one_field, values)
        elif self._find_fields is not None:
            pairs = self._find_fields(raw)
            if pairs:
                self._note_fields(found, pairs)

    def _note_shared(
        self, found: list[Found], head: RequestHead, shared: SharedFields
    ) -> None:
        """Note the same, where all fields but Cookie were looked at with another head."""
        fields = shared.found.get(self)
        if fields is None:
            fields = self._note_others(shared)
        if self._asks_cookie and shared.rest:
            value = head.cookie.strip(b" \t")
            fields = {**fields, _COOKIE: value}
            if self._cookies is not None:
                found[_COOKIES] = find_cookies(value, self._cookies)
        found[_FIELDS] = fields

    def _note_others(self, shared: SharedFields) -> Found:
        """Find the fields but Cookie that the revision asks for, and keep them."""
        found = [_NOTHING, _NOTHING, _NOTHING]
        self._note_all(found, shared.lead + shared.rest)
        fields = dict(found[_FIELDS])
        if shared.rest:
            fields.pop(_COOKIE, None)  # it lacks its value
        shared.keep(self, fields)
        return fields

    def _note_field(
        self, found: list[Found], name: bytes, values: Sequence[bytes]
    ) -> None:
        value = values[0].rstrip(b" \t\r")
        if self._cookies is not None:
            if len(values) > 1:
                value = b"; ".join([one.rstrip(b" \t\r") for one in values])
            found[_COOKIES] = find_cookies(value, self._cookies)
        found[_FIELDS] = {name: value}

    def _note_fields(
        self, found: list[Found], pairs: Sequence[tuple[bytes, bytes]]
    ) -> None:
        fields = found[_FIELDS] = {}
        for name, value in pairs:
            name = name.lower()  # noqa: PLW2901 - the hot path
            if name not in fields:
                fields[name] = value.rstrip(b" \t\r")
            elif name == _COOKIE:
                fields[name] += b"; " + value.rstrip(b" \t\r")
        if self._cookies is not None and _COOKIE in fields:
            found[_COOKIES] = find_cookies(fields[_COOKIE], self._cookies)


@functools.lru_cache(maxsize=1024)
def plain_host(asked: bytes | None) -> bytes:
    """Give a host in lower case, without its port and the dot of an absolute name.

    >>> plain_host(b"Shop.Example.org.:8443"), plain_host(b"[::1]:80"), plain_host(None)
    (b'shop.example.org', b'[::1]', b'')
    """
    host = (asked or b"").lower()
    if not host.endswith(b"]"):
        name, colon, port = host.rpartition(b":")
        if colon and (port.isdigit() or not port):
            host = name
    return host.rstrip(b".")


def name_of(key: Key) -> bytes:
    """Give the name under which a key's value is found."""
    name = key.name.encode()
    return name.lower() if key.source is Source.HEADER else name


def may_have(query: bytes, names: Sequence[bytes]) -> bool:
    """Tell whether a query may have a parameter of these: one look, where it has not.

    >>> may_have(b"page=1", [b"user"]), may_have(b"us%65r=1", [b"user"])
    (False, True)
    """
    if len(names) > _SEVERAL or b"%" in query or b"+" in query:
        return True
    for name in names:  # noqa: SIM110 - a third of what `any` takes
        if name in query:
            return True
    return False


def read_query(query: bytes) -> Found:
    """Take a query apart; the first parameter of a name counts.

    >>> read_query(b"user=a%20b&x&user=c")
    {b'user': b'a b', b'x': b''}
    """
    found: Found = {}
    for pair in query.split(b"&"):
        if b"%" in pair or b"+" in pair:
            name, _, value = pair.replace(b"+", b" ").partition(b"=")
            found.setdefault(unquote_to_bytes(name), unquote_to_bytes(value))
        else:
            name, _, value = pair.partition(b"=")
            found.setdefault(name, value)
    return found


def cookie_pattern(names: set[bytes]) -> re.Pattern[bytes]:
    """Give what finds the cookies of these names, and others if they are many."""
    if len(names) > _SEVERAL:
        return re.compile(rb"(?:^|;)[ \t]*([^=;]+)=([^;]*)")
    either = b"|".join(map(re.escape, sorted(names)))
    return re.compile(rb"(?:^|;)[ \t]*(%b)=([^;]*)" % either)


def find_cookies(header: bytes, pattern: re.Pattern[bytes]) -> Found:
    """Give the cookies of a Cookie field that a pattern of `cookie_pattern` finds."""
    found: Found = {}
    for name, value in pattern.findall(header):
        if name not in found:
            found[name] = value.strip(b' \t"')
    return found


def key_getter(key: Key) -> GetKey:
    """Give what finds a key in a request: its bytes, or None where it is not there.

    An empty value is no key: it would make all who send it one user.
    """
    if key.source is Source.ADDRESS:
        v4, v6 = key.v4, key.v6
        return lambda view: network_of(view.client, v4, v6)
    name, slot = name_of(key), SLOTS[key.source]
    return lambda view: view.found[slot].get(name) or None


@functools.lru_cache(maxsize=4096)
def network_of(client: str, v4: int, v6: int) -> bytes | None:
    """Give the network of a client as a key; None for a client without an address."""
    address = address_of(client)
    if address is None:
        return None
    size, number = address
    return b"%d:%x" % (size, number >> (size - (v4 if size == 32 else v6)))


@functools.lru_cache(maxsize=4096)
def address_of(client: str) -> tuple[int, int] | None:
    """Give an address as its bits and a number; None for what is none.

    An IPv4 address in IPv6's clothes is one of IPv4 (RFC 4291 section 2.5.5.2).
    """
    address = parse_address(client)
    return None if address is None else (address.max_prefixlen, int(address))


def field_finder(name: bytes) -> Callable[[bytes], bytes | None]:
    """Give what finds the first value of a field in a raw head, as a `RequestReader` does.

    >>> field_finder(b"x-beta")(b"GET / HTTP/1.1\\r\\nX-Beta: yes \\r\\nX-Beta: no\\r\\n\\r\\n")
    b'yes'
    """
    search = _one_pattern(name).search

    def find(raw: bytes) -> bytes | None:
        found = search(raw)
        return None if found is None else found[1].rstrip(b" \t\r")

    return find


def _one_pattern(name: bytes) -> re.Pattern[bytes]:
    first, name = re.escape(name[:1]), re.escape(name)
    return re.compile(rb"\n(?=[%b])%b:[ \t]*(.*)" % (first, name), re.IGNORECASE)


def _field_pattern(names: set[bytes]) -> re.Pattern[bytes]:
    if len(names) > _SEVERAL:
        return re.compile(rb"\n([^:\r\n]+):[ \t]*(.*)")
    # One look at the first letter passes most lines by, as in http_trio.http1.request_head; and `.`
    # takes a value twice as fast as a set does. What ends a line is stripped later.
    first = b"".join(sorted({re.escape(name[:1]) for name in names}))
    either = b"|".join(map(re.escape, sorted(names)))
    return re.compile(rb"\n(?=[%b])(%b):[ \t]*(.*)" % (first, either), re.IGNORECASE)
