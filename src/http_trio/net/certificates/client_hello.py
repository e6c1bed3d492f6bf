"""The name that a client asks for, in the first message of its handshake. Pure.

It is read before OpenSSL begins, so that each certificate has a context of its own from
the first byte. OpenSSL can exchange the certificate in the middle of a handshake too,
but not the keys of session tickets: what was agreed under one name could be resumed under
another (RFC 8446, section 4.6.1). The rule: nothing is refused here. Who sends what
cannot be read is shown the first certificate, and OpenSSL finds what is wrong.
"""

from __future__ import annotations

import struct

HELLO_BYTES = 16 * 1024 + 5
"""Of a first message at most that is waited for; a client's is 200 to 2,000 bytes long."""

_RECORDS = 16  # that a first message is cut into at most; a client's is one
_HANDSHAKE, _CLIENT_HELLO = b"\x16", b"\x01"
_SERVER_NAME, _HOST_NAME = 0, 0


class Unfinished(Exception):
    """More of the message has to come before the name is known."""


def server_name(received: bytes) -> str:
    """Give the name that a client asks for (SNI, RFC 6066); empty without one.

    Raises:
        Unfinished: the message is not complete.
    """
    hello = _client_hello(received)
    try:
        return _name_in(hello)
    except (struct.error, IndexError, ValueError):
        return ""


def _client_hello(received: bytes) -> bytes:
    """Give the body of the message; empty if it is none, or is cut into too much."""
    message, at, length = b"", 0, HELLO_BYTES
    for _ in range(_RECORDS):
        kind, size = received[at : at + 1], received[at + 3 : at + 5]
        end = at + 5 + int.from_bytes(size, "big")
        if kind not in (b"", _HANDSHAKE) or message[:1] not in (b"", _CLIENT_HELLO):
            break
        if len(size) < 2 or len(received) < end:
            if len(received) >= HELLO_BYTES:
                break
            raise Unfinished
        message, at = message + received[at + 5 : end], end
        if len(message) >= 4:
            length = int.from_bytes(message[1:4], "big")
        if len(message) >= 4 + length and message[:1] == _CLIENT_HELLO:
            return message[4 : 4 + length]
    return b""


def _name_in(hello: bytes) -> str:
    at = 2 + 32  # the version, and what is random
    at += 1 + hello[at]  # the session
    (length,) = struct.unpack_from("!H", hello, at)
    at += 2 + length  # the ciphers
    at += 1 + hello[at]  # the compressions
    (length,) = struct.unpack_from("!H", hello, at)
    at += 2
    end = min(at + length, len(hello))
    while at < end:
        kind, length = struct.unpack_from("!HH", hello, at)
        at += 4
        if kind == _SERVER_NAME:
            _, name_kind, size = struct.unpack_from("!HBH", hello, at)
            name = hello[at + 5 : at + 5 + size]
            return name.decode("ascii") if name_kind == _HOST_NAME else ""
        at += length
    return ""
