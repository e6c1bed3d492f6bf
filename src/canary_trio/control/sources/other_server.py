"""What speaks at an address where a store should be: a look at the first bytes it says.

A client that gets nonsense, or nothing, cannot tell a store that is down from a server of
another kind, and would try for ever. So who sends a greeting, or closes, is looked at once:
whether it speaks HTTP, TLS, or neither.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import trio

from canary_trio.errors import printable
from kv_trio import StoreUnreachable

LOOK_S = 1.0
"""How long it has to say something."""

PATIENT_S = 1.5
"""How long a store's first response is waited for before it is looked at."""

_SHOWN = 40  # bytes of what it says
_ASKED = b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"
_ALERT = b"\x15\x03"  # the record that a server of TLS sends to who speaks none
_PORTS = {"http": 80, "https": 443}


async def what_speaks(url: str) -> str:
    """Say what another server is at a URL; empty where it may be one of HTTP, or is down."""
    parts = urlsplit(url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or _PORTS.get(parts.scheme, 0)
    said = await _first_bytes(host, port)
    if said is None:
        return ""
    if said.startswith(_ALERT) or (not said and await _speaks_tls(host, port)):
        return "" if is_tls else f"it speaks TLS, and {url} does not: is it https://?"
    if said.startswith(b"HTTP/"):
        return f"it speaks HTTP without TLS, and {url} is with TLS" if is_tls else ""
    if not said:
        return ""
    shown = printable(said[:_SHOWN].decode("latin-1").strip())
    return f"it speaks no HTTP: its first words are {shown!r}"


async def ask_or_look(
    ask: Callable[[], Awaitable[object]], look: Callable[[], Awaitable[None]]
) -> None:
    """Ask a store; where that fails, or takes long, look what else may be there.

    Args:
        ask: sends a request.
        look: raises `WrongServer` if it is no store.

    Raises:
        WrongServer: as `look` does.
        KvError: as `ask` does.
    """
    failed: StoreUnreachable | None = None
    with trio.move_on_after(PATIENT_S) as scope:
        try:
            await ask()
        except StoreUnreachable as exc:
            failed = exc
    if failed is None and not scope.cancelled_caught:
        return
    await look()
    if failed is not None:
        raise failed
    await ask()


async def _first_bytes(host: str, port: int) -> bytes | None:
    """Give what a server says first to a request of HTTP; None if nobody is there."""
    said = b""
    try:
        with trio.move_on_after(LOOK_S):
            async with await trio.open_tcp_stream(host, port) as stream:
                try:
                    await stream.send_all(_ASKED % host.encode())
                    while len(said) < _SHOWN and b"\n" not in said:
                        data = await stream.receive_some(_SHOWN)
                        if not data:
                            break
                        said += data
                except trio.BrokenResourceError:
                    return said
    except OSError:
        return None
    return said


async def _speaks_tls(host: str, port: int) -> bool:
    """Tell whether a server shakes hands, whatever its certificate is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with trio.move_on_after(LOOK_S):
            async with await trio.open_tcp_stream(host, port) as stream:
                tls = trio.SSLStream(stream, context, server_hostname=host)
                await tls.do_handshake()
                return True
    except (OSError, trio.BrokenResourceError, ssl.SSLError):
        pass
    return False
