"""A request's head as values, while it is made. Pure."""

from __future__ import annotations

import attrs

from http_trio.http1.heads.shared_fields import SharedFields


@attrs.define(eq=False)
class HeadValues:
    """What `RequestHead` has, while it is made: storing into a frozen one is slow.

    0.3 against 1.0 us for all of them.
    """

    raw: bytes
    method: bytes
    target: bytes
    host: bytes | None
    kept: bytes
    repeatable: bool
    takes_plain: bool
    framing: int = 0
    http10: bool = False
    keep_alive: bool = True
    expects_continue: bool = False
    upgrade: bytes | None = None
    takes_trailers: bool = False
    forwarded: tuple[tuple[bytes, bytes], ...] = ()
    trailer: bytes = b""
    _start: bytes = attrs.field(default=b"", init=False, repr=False)
    passed: bytes | None = attrs.field(default=None, init=False, repr=False)
    is_quiet: bool = attrs.field(default=False, init=False, repr=False)
    shared: SharedFields | None = attrs.field(default=None, init=False, repr=False)
    cookie: bytes = attrs.field(default=b"", init=False, repr=False)
